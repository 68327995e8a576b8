"""See what happens to a gradient in a deep or recurrent network, and what each remedy really does.

Importing this package costs nothing heavy; ``gradcourse.theory`` brings NumPy and SciPy,
``gradcourse.signals`` brings torch, and ``gradcourse.live`` brings matplotlib and ipywidgets.
"""

from gradcourse.claims import Claim, ClaimError, claim

__all__ = ["Claim", "ClaimError", "__version__", "claim"]

__version__ = "0.1.0"
