// Search in pages that are opened from a folder: browsers start no worker there, so the script that
// searches runs in a hidden frame of the page. The theme would load such a thing from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.inside = new Promise((ready) => {
        const frame = document.createElement("iframe");
        frame.hidden = true;
        frame.srcdoc = "<!DOCTYPE html>";
        frame.addEventListener("load", async () => {
          const inside = frame.contentWindow;
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          inside.importScripts = async (...urls) => {
            for (const script of urls) await load(inside.document, script);
          };
          await load(inside.document, url);
          ready(inside);
        });
        document.body.append(frame);
      });
    }

    async postMessage(data) {
      const inside = await this.inside;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    async terminate() {
      (await this.inside).frameElement.remove();
    }
  };

  const load = (page, url) =>
    new Promise((done, failed) => {
      const script = page.createElement("script");
      Object.assign(script, { src: url, onload: done, onerror: failed });
      page.head.append(script);
    });
}
