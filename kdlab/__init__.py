"""The laboratory: texts, the language model, experiments, tables, figures and claims."""
