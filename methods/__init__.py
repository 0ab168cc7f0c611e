"""Search methods and searchers, one file each.

May import: the engine. A method does not import another method.

Called, the package lists all methods: ``nasbench.methods()`` is :func:`nasbench.api.methods`.
"""

import sys
from types import ModuleType
from typing import Any

if __name__ != "nasbench.methods":
    raise ImportError("import nasbench.methods, not the bare folder: it would make a second registry")


class _Methods(ModuleType):
    """Makes this package callable: importing ``nasbench.methods.ws_nas`` binds the name ``nasbench.methods`` to it."""

    def __call__(self) -> Any:
        from nasbench.plugins import registry

        return registry.methods()


sys.modules[__name__].__class__ = _Methods
