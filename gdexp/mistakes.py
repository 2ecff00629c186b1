"""The tutorial's families with one mistake each, for the gallery in ``conf/experiment/mistakes/``.

Nothing else uses them. Each class is a correct one with the one line that people get wrong.
"""

from __future__ import annotations
