"""How the course starts a kernel of its own, for a run or for a lecture."""

__all__ = ["QUIET_KERNEL"]

# Newer kernels warn that they talk to us over loopback, in the middle of the progress bar.
QUIET_KERNEL = ["--IPKernelApp.log_level=40"]
