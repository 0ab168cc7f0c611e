"""Which licences ``make audit`` lets pass without a person's look."""

from __future__ import annotations

import pytest
from project.licence_check import fits


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "GPL-2.0 OR MIT",
        "BSD-3-Clause",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "LGPLv3+",
        "LGPL-2.1-or-later",
        "GNU Lesser General Public License v2 or later (LGPLv2+)",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "MPL-2.0 AND MIT",
        "Apache Software License",
        "Apache Software License; MIT License",
    ],
)
def test_licences_that_ask_little_fit(text: str) -> None:
    assert fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "implied",
        "Disclaimer",
        "permit",
        "GPL-3.0-only AND MIT",
        "MIT and GPL-3.0-only",
        "GPLv3; BSD License",
        "BSD License, AGPLv3",
        "(GPL-3.0-only OR AGPL-3.0-only) AND MIT",
        "Proprietary",
        "UNKNOWN",
        "",
    ],
)
def test_other_licences_do_not_fit(text: str) -> None:
    assert not fits(text)
