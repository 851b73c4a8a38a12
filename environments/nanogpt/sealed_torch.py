"""Make torch ready for a sealed process, which can open no file and start no process or thread."""


def prepare_torch():
    """Does before the seal what torch would try in vain under it.

    A compiler reads files and starts processes, so models are served as they are written. The
    number of threads stays what it is. The first operation reads files about the processor.
    """
    import torch

    torch.compile = _uncompiled
    torch.set_num_threads = torch.set_num_interop_threads = lambda count: None
    x = torch.ones(8, 8)
    torch.nn.functional.gelu(x @ x)


def _uncompiled(model=None, **_options):
    """Stands in for torch.compile, as a call or as a decorator, and leaves everything as it is."""
    return (lambda function: function) if model is None else model
