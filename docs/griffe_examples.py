"""Examples of docstrings as code: our `Example:` is what the site's reader calls `Examples:`."""

import re

from griffe import Extension, Module, Object


class Examples(Extension):
    """Renames the section before it is read."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        if obj.docstring is not None:
            found = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", found, flags=re.M)

    def on_package(self, *, pkg: Module, **_: object) -> None:
        self.on_object(obj=pkg)
