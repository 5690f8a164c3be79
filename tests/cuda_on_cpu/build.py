"""Builds the runtime: CuPy's own extension, the device, cuBLAS and NCCL."""

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cuda_on_cpu import cache

HERE = Path(__file__).parent / "cpp"
OLDEST_CUPY = (14, 0)
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-pthread")
# CuPy's own settings, in install/cupy_builder/_command.py of its sources.
DIRECTIVES = {
    "binding": False,
    "c_api_binop_methods": True,
    "embedsignature": True,
    "freethreading_compatible": True,
    "warn.deprecated.IF": False,
}


class Unavailable(Exception):  # noqa: N818 - a state of the machine, not a fault
    """What CuPy on the CPU needs is missing."""


@dataclass(frozen=True)
class Built:
    """Where the parts are: libraries in the order in which they are loaded."""

    libraries: tuple
    extension: Path


@dataclass(frozen=True)
class Cupy:
    """The wheel that is installed."""

    version: str
    major: int  # of CUDA
    folder: Path  # that holds the packages


def find_cupy():
    """Find the wheel; refuse what is too old."""
    for name in ("cupy-cuda13x", "cupy-cuda12x"):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        oldest = ".".join(map(str, OLDEST_CUPY))
        if tuple(map(int, re.findall(r"\d+", found.version)[:2])) < OLDEST_CUPY:
            message = f"{name} {found.version} is too old: CuPy {oldest} is needed"
            raise Unavailable(message)
        folder = Path(found.locate_file(""))
        return Cupy(found.version, int(re.search(r"cuda(\d+)x", name)[1]), folder)
    message = "neither cupy-cuda13x nor cupy-cuda12x is installed"
    raise Unavailable(message)


@functools.cache
def compiler_version():
    """Return what g++ says of itself."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        message = "CUDA on the CPU runs on Linux and x86-64 alone"
        raise Unavailable(message)
    if shutil.which("g++") is None:
        message = "CUDA on the CPU needs a compiler: g++ is not installed"
        raise Unavailable(message)
    return run(["g++", "--version"]).splitlines()[0]


def run(command, **options):
    """Run a command; return what it printed.

    Raises:
        Unavailable: it failed; the message ends as its output does.
    """
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        message = f"{' '.join(map(str, command[:6]))} ... failed:\n{tail}"
        raise Unavailable(message)
    return done.stdout


def cuda_headers(major):
    """Return the folders of CUDA's headers, which wheels bring."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations) if spec else []
    own = f"cu{major}" if major >= 13 else "*"  # before 13, one folder per package
    folders = [path for root in roots for path in Path(root).glob(f"{own}/include")]
    wanted = (
        "cuda.h",
        "cuda_runtime_api.h",
        "cuda_profiler_api.h",
        "crt/host_defines.h",
    )
    for header in wanted:
        if not any((folder / header).exists() for folder in folders):
            message = f"CUDA's header {header} is not there: the extra test brings it"
            raise Unavailable(message)
    return sorted(folders)


def build_runtime():
    """Build what is not in the cache.

    Raises:
        Unavailable: something that the build needs is missing, or was at the first try.
    """
    found = _built_or_error()
    if isinstance(found, Unavailable):
        raise Unavailable(str(found))
    return found


@functools.cache
def _built_or_error():
    try:
        return _find_or_build()
    except Unavailable as error:
        return error


def _find_or_build():
    version = compiler_version()
    cupy = find_cupy()
    headers = cuda_headers(cupy.major)
    sources = sorted(HERE.glob("*.[ch]pp"))
    # CUDA's headers are part of what is built, and so is Python's version.
    key = cache.key_of(
        [path.read_bytes() for path in sources],
        Path(__file__).read_bytes(),
        [version, cupy.version, cupy.major, sys.version],
        cache.describe_headers(headers),
    )
    built = cache.made_once(
        f"runtime-{key}", lambda folder: _Build(cupy, headers, folder).make()
    )
    major = cupy.major
    names = ["libcuda.so.1", f"libcublasLt.so.{major}", f"libcublas.so.{major}"]
    names.append("libnccl.so.2")
    return Built(tuple(built / name for name in names), built / "runtime.so")


class _Build:
    """One build of everything, into a folder."""

    def __init__(self, cupy, headers, folder):
        self._cupy, self._folder = cupy, folder
        self._includes = [f"-I{path}" for path in headers]

    def make(self):
        self._folder.mkdir()
        with tempfile.TemporaryDirectory() as scratch:
            self._scratch = Path(scratch)
            extension = self._compile_extension()
            self._link_device(extension)
            self._link_cublas()
            self._link_nccl()
        device = self._folder / "libcuda.so.1"
        self._link(self._folder / "runtime.so", [extension, device])
        extension.unlink()

    def _compile(self, source, *options):
        result = self._scratch / f"{Path(source).stem}.o"
        words = ["g++", *FLAGS, *self._includes, f"-I{self._scratch}", *options]
        run([*words, "-c", source, "-o", result])
        return result

    @staticmethod
    def _link(result, objects, *options):
        run(["g++", "-shared", "-o", result, *objects, *options, "-ldl", "-lm"])

    def _compile_extension(self):
        """Compile CuPy's extension, which is not linked yet."""
        sources = self._fetch_sources()
        place = sources / "cupy_backends/cuda/api"
        self._cythonize(sources)
        python = sysconfig.get_path("include")
        made = self._compile(place / "runtime.cpp", "-w", "-O0", f"-I{python}")
        kept = self._folder / "runtime.o"
        shutil.move(made, kept)
        return kept

    def _fetch_sources(self):
        """Download CuPy's source distribution and unpack what is needed of it."""
        version = self._cupy.version
        archive = cache.made_once(
            f"cupy-{version}.tar.gz", lambda path: download_sources(version, path)
        )
        with tarfile.open(archive) as opened:
            members = [m for m in opened if f"cupy-{version}/cupy_backends/" in m.name]
            opened.extractall(self._scratch, members=members, filter="data")
        return self._scratch / f"cupy-{version}"

    def _cythonize(self, sources):
        constants = {
            "CUPY_CUDA_VERSION": self._cuda_version(),
            "CUPY_HIP_VERSION": 0,
            "CUPY_USE_CUDA_PYTHON": False,
            "CUPY_CUFFT_STATIC": False,
            "CUPY_CYTHON_VERSION": importlib.metadata.version("cython"),
        }
        words = [sys.executable, "-m", "cython", "--cplus", "-3"]
        words += [f"-X{name}={value}" for name, value in DIRECTIVES.items()]
        words += [f"-E{name}={value}" for name, value in constants.items()]
        run([*words, "cupy_backends/cuda/api/runtime.pyx"], cwd=sources)

    def _cuda_version(self):
        return int(re.search(r"#define CUDA_VERSION (\d+)", self._header("cuda.h"))[1])

    def _header(self, name):
        folders = [Path(option[2:]) for option in self._includes]
        path = next(f / name for f in folders if (f / name).exists())
        return path.read_text(encoding="utf-8", errors="replace")

    def _link_device(self, extension):
        self._list_errors("runtime", "driver_types.h", r"cuda(?:Error\w+|Success)")
        self._list_errors("driver", "cuda.h", r"CUDA_(?:ERROR_\w+|SUCCESS)")
        names = ("calls", "schedule", "memory", "streams", "launch", "properties")
        objects = [self._compile(HERE / f"{name}.cpp") for name in names]
        objects.append(self._refuse_rest(extension, objects, "cuda"))
        options = ["-Wl,-soname,libcuda.so.1"]
        self._link(self._folder / "libcuda.so.1", objects, *options)

    def _list_errors(self, name, header, pattern):
        """Print the codes and names of errors, as CUDA's header has them."""
        rows = re.findall(rf"\b({pattern})\s*=\s*(\d+)", self._header(header))
        text = "".join(f'{{{code}, "{word}"}},\n' for word, code in rows)
        (self._scratch / f"{name}_errors.inc").write_text(text, encoding="utf-8")

    def _refuse_rest(self, user, objects, start):
        """Compile functions that refuse, for all that `user` calls and nobody has."""
        wanted = _symbols(user, "U", start)
        for path in objects:
            wanted -= _symbols(path, "T", start)
        lines = ['extern "C" int sim_unsupported(const char* name);\n']
        lines += [
            f'extern "C" __attribute__((visibility("default"))) int {name}() '
            f'{{ return sim_unsupported("{name}"); }}\n'
            for name in sorted(wanted)
        ]
        source = self._scratch / f"rest_of_{start}.cpp"
        source.write_text("".join(lines), encoding="utf-8")
        return self._compile(source)

    def _link_cublas(self):
        major = self._cupy.major
        (user,) = self._cupy.folder.glob("cupy_backends/cuda/libs/cublas.*.so")
        own = self._compile(HERE / "cublas.cpp")
        rest = self._refuse_rest(user, [own], "cublas")
        for name, objects in (("cublas", [own, rest]), ("cublasLt", [])):
            soname = f"lib{name}.so.{major}"
            versions = self._scratch / f"{name}.map"
            names = "cublas*; sim_*;"
            text = f"{soname} {{ global: {names} local: *; }};\n"
            versions.write_text(text, encoding="utf-8")
            options = [f"-Wl,-soname,{soname}", f"-Wl,--version-script={versions}"]
            if objects:
                objects.append(self._folder / "libcuda.so.1")
            self._link(self._folder / soname, objects, *options)

    def _link_nccl(self):
        (user,) = self._cupy.folder.glob("cupy_backends/cuda/libs/nccl.*.so")
        own = self._compile(HERE / "nccl.cpp")
        objects = [own, self._refuse_rest(user, [own], "nccl")]
        objects.append(self._folder / "libcuda.so.1")
        options = ["-Wl,-soname,libnccl.so.2"]
        self._link(self._folder / "libnccl.so.2", objects, *options)


def _symbols(path, kind, start):
    """Return the names of functions that an object has (T) or asks for (U)."""
    dynamic = ["-D"] if ".so" in path.suffixes else []
    text = run(["nm", *dynamic, path])
    return set(re.findall(rf" {kind} ({start}\w+)", text))


def download_sources(version, path):
    """Download CuPy's source distribution, the ordinary way."""
    with tempfile.TemporaryDirectory() as scratch:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", scratch]
        words += ["--no-deps", "--no-binary", "cupy", "--no-build-isolation"]
        # pip asks the package for its metadata, which must not look for CUDA.
        environment = os.environ | {"READTHEDOCS": "True"}
        run([*words, f"cupy=={version}"], env=environment)
        (found,) = Path(scratch).glob("cupy-*.tar.gz")
        shutil.copy(found, path)
