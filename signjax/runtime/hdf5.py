"""Whether HDF5's library gets through a file, tried in a process of its own.

On a damaged file the library can crash or loop for ever, which nothing within the same
process can catch or end. Run as a script, with the file as standard input.
"""

import io
import subprocess
import sys

_CPU_SECONDS = 10  # a sound file takes one
_SECONDS = 120
_MEMORY = 8 << 30


def refuse_unsound_hdf5(content: bytes) -> None:
    """Raises ValueError where the library fails on a file, or does not return."""
    command = [sys.executable, "-P", __file__]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("HDF5's library does not get through it") from error
    if done.returncode:
        raise ValueError("HDF5's library fails on it")


def touch(content: bytes) -> None:
    """Meets all that a reader may, but the values of arrays of numbers."""
    import h5py

    def visit(_: str, thing: h5py.Group | h5py.Dataset) -> None:
        dict(thing.attrs)
        if isinstance(thing, h5py.Dataset):
            str((thing.shape, thing.dtype, thing.is_virtual, thing.chunks))
            if thing.dtype.kind == "O":
                thing[()]

    limit()
    with h5py.File(io.BytesIO(content), "r") as root:
        dict(root.attrs)
        root.visititems(visit)


def limit() -> None:
    """Ends this process where it takes more than a sound file needs."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    touch(sys.stdin.buffer.read())
