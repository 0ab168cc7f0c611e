"""Search methods and searchers, one file each. A leaf imports the engine only."""

if __name__ != "nasbench.methods":
    raise ImportError("import nasbench.methods, not the bare folder: it would make a second registry")
