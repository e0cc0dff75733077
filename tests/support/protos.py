"""Compiles the project's own `.proto` files. `make proto` writes the modules; a test compares them.

OTLP's messages, which they refer to, come from the descriptors in opentelemetry-proto: its package has no `.proto`
files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from opentelemetry.proto.trace.v1 import trace_pb2

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "ares_otel" / "api" / "jaeger" / "proto", ROOT / "ares_otel" / "model" / "prometheus" / "proto")


def proto_files() -> list[Path]:
    """The `.proto` files of the project."""
    return sorted(file for folder in FOLDERS for file in folder.glob("*.proto"))


def compiled() -> FileDescriptorSet:
    """What the files say, by the names of the files as they import each other."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        _protoc(f"--descriptor_set_out={out}", names=[str(file.relative_to(ROOT)) for file in proto_files()])
        found = FileDescriptorSet.FromString(out.read_bytes())
    for field in [field for file in found.file for field in _all_fields(file.message_type)]:
        field.ClearField("json_name")  # which generated modules do not repeat
    return found


def write(folder: Path) -> None:
    """Writes the modules with messages, and those with gRPC stubs for the files that have services, below a folder."""
    names = [str(file.relative_to(ROOT)) for file in proto_files()]
    _protoc(f"--python_out={folder}", f"--pyi_out={folder}", names=names)
    services = [file.name for file in compiled().file if file.service]
    _protoc(f"--grpc_python_out={folder}", names=services)


def _protoc(*outputs: str, names: list[str]) -> None:
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known"
        known.write_bytes(FileDescriptorSet(file=_with_imports(trace_pb2.DESCRIPTOR)).SerializeToString())
        google = Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"--proto_path={ROOT}", f"--proto_path={google}", f"--descriptor_set_in={known}"]
        if protoc.main([*arguments, *outputs, *names]):
            raise SystemExit("protoc did not compile the files; it says why above.")


def _all_fields(messages: Iterable[DescriptorProto]) -> Iterator[FieldDescriptorProto]:
    for message in messages:
        yield from message.field
        yield from _all_fields(message.nested_type)


def _with_imports(file: FileDescriptor) -> list[FileDescriptorProto]:
    found = [copy for imported in file.dependencies for copy in _with_imports(imported)]
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    return [*found, copy]


if __name__ == "__main__":
    write(ROOT)
