"""The project's `.proto` files, and the modules that are generated from them."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from tests.support import protos

TYPES = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_UINT64: "uint64",
    FieldDescriptorProto.TYPE_FIXED64: "fixed64",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}

# What Jaeger's clients have compiled in: file → message → fields in the order of their numbers, from 1.
MESSAGES: dict[str, dict[str, str]] = {
    "api_v3": {
        "GetTraceRequest": "trace_id string, start_time Timestamp, end_time Timestamp, raw_traces bool",
        "TraceQueryParameters": "service_name string, operation_name string, attributes repeated AttributesEntry, "
        "start_time_min Timestamp, start_time_max Timestamp, duration_min Duration, duration_max Duration, "
        "search_depth int32, raw_traces bool, filter Call",
        "FindTracesRequest": "query TraceQueryParameters",
        "FindTraceSummariesRequest": "query TraceQueryParameters",
        "GetServicesRequest": "",
        "GetServicesResponse": "services repeated string",
        "GetOperationsRequest": "service string, span_kind string",
        "Operation": "name string, span_kind string",
        "GetOperationsResponse": "operations repeated Operation",
        "GetDependenciesRequest": "start_time Timestamp, end_time Timestamp",
        "Dependency": "parent string, child string, call_count uint64",
        "DependenciesResponse": "dependencies repeated Dependency",
        "ServiceSummary": "name string, span_count int32, error_span_count int32",
        "TraceSummary": "trace_id string, root_service_name string, root_operation_name string, "
        "min_start_time_unix_nano fixed64, max_end_time_unix_nano fixed64, span_count int32, error_span_count int32, "
        "orphan_span_count int32, services repeated ServiceSummary",
        "FindTraceSummariesResponse": "summaries repeated TraceSummary",
    },
    "storage_v2": {
        "GetTraceParams": "trace_id bytes, start_time Timestamp, end_time Timestamp",
        "GetTracesRequest": "query repeated GetTraceParams",
        "GetServicesRequest": "",
        "GetServicesResponse": "services repeated string",
        "GetOperationsRequest": "service string, span_kind string",
        "Operation": "name string, span_kind string",
        "GetOperationsResponse": "operations repeated Operation",
        "KeyValue": "key string, value AnyValue",
        "AnyValue": "string_value string, bool_value bool, int_value int64, double_value double, "
        "array_value ArrayValue, kvlist_value KeyValueList, bytes_value bytes",
        "ArrayValue": "values repeated AnyValue",
        "KeyValueList": "values repeated KeyValue",
        "TraceQueryParameters": "service_name string, operation_name string, attributes repeated KeyValue, "
        "start_time_min Timestamp, start_time_max Timestamp, duration_min Duration, duration_max Duration, "
        "search_depth int32, filter Call",
        "FindTracesRequest": "query TraceQueryParameters",
        "FindTraceIDsRequest": "query TraceQueryParameters",
        "FindTraceSummariesRequest": "query TraceQueryParameters",
        "FoundTraceID": "trace_id bytes, start Timestamp, end Timestamp",
        "FindTraceIDsResponse": "trace_ids repeated FoundTraceID",
        "ServiceSummary": "name string, span_count int32, error_span_count int32",
        "TraceSummary": "trace_id bytes, root_service_name string, root_operation_name string, "
        "min_start_time_unix_nano fixed64, max_end_time_unix_nano fixed64, span_count int32, error_span_count int32, "
        "orphan_span_count int32, services repeated ServiceSummary",
        "FindTraceSummariesResponse": "summaries repeated TraceSummary",
        "GetDependenciesRequest": "start_time Timestamp, end_time Timestamp",
        "Dependency": "parent string, child string, call_count uint64, source string",
        "GetDependenciesResponse": "dependencies repeated Dependency",
        "GetCapabilitiesRequest": "",
        "GetCapabilitiesResponse": "search SearchCapabilities",
        "SearchCapabilities": "without_service_name bool, same_span_conjunction bool, filter FilterCapabilities",
        "FilterCapabilities": "levels repeated string, operators repeated string",
    },
    "expression_v1": {
        "Expression": "attr AttributeReference, field FieldReference, nested NestedReference, scalar Scalar, "
        "list List, call Call",
        "AttributeReference": "key string, level string",
        "FieldReference": "name string, level string",
        "NestedReference": "level string",
        "Scalar": "value string, type string",
        "List": "values repeated string, type string",
        "Call": "op string, args repeated Expression",
    },
    "sampling_v2": {
        "SamplingStrategyParameters": "serviceName string",
        "SamplingStrategyResponse": "strategyType SamplingStrategyType, "
        "probabilisticSampling ProbabilisticSamplingStrategy, rateLimitingSampling RateLimitingSamplingStrategy, "
        "operationSampling PerOperationSamplingStrategies",
        "ProbabilisticSamplingStrategy": "samplingRate double",
        "RateLimitingSamplingStrategy": "maxTracesPerSecond int32",
        "PerOperationSamplingStrategies": "defaultSamplingProbability double, "
        "defaultLowerBoundTracesPerSecond double, perOperationStrategies repeated OperationSamplingStrategy, "
        "defaultUpperBoundTracesPerSecond double",
        "OperationSamplingStrategy": "operation string, probabilisticSampling ProbabilisticSamplingStrategy",
    },
}

PACKAGES = {
    "api_v3": "jaeger.api_v3",
    "storage_v2": "jaeger.storage.v2",
    "expression_v1": "jaeger.expression.v1",
    "sampling_v2": "jaeger.api_v2",
}

SERVICES = {
    "jaeger.api_v3.QueryService": "GetTrace(GetTraceRequest) stream TracesData, "
    "FindTraces(FindTracesRequest) stream TracesData, GetServices(GetServicesRequest) GetServicesResponse, "
    "GetOperations(GetOperationsRequest) GetOperationsResponse, "
    "GetDependencies(GetDependenciesRequest) DependenciesResponse, "
    "FindTraceSummaries(FindTraceSummariesRequest) stream FindTraceSummariesResponse",
    "jaeger.storage.v2.TraceReader": "GetTraces(GetTracesRequest) stream TracesData, "
    "GetServices(GetServicesRequest) GetServicesResponse, "
    "GetOperations(GetOperationsRequest) GetOperationsResponse, FindTraces(FindTracesRequest) stream TracesData, "
    "FindTraceIDs(FindTraceIDsRequest) FindTraceIDsResponse, "
    "FindTraceSummaries(FindTraceSummariesRequest) stream FindTraceSummariesResponse",
    "jaeger.storage.v2.DependencyReader": "GetDependencies(GetDependenciesRequest) GetDependenciesResponse",
    "jaeger.storage.v2.Capabilities": "GetCapabilities(GetCapabilitiesRequest) GetCapabilitiesResponse",
    "jaeger.api_v2.SamplingManager": "GetSamplingStrategy(SamplingStrategyParameters) SamplingStrategyResponse",
}


@pytest.fixture(scope="module")
def compiled() -> dict[str, FileDescriptorProto]:
    return {Path(file.name).stem: file for file in protos.compiled().file if file.package != "google.protobuf"}


def test_the_generated_modules_are_what_the_proto_files_say(compiled: dict[str, FileDescriptorProto]) -> None:
    for name, file in compiled.items():
        module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        generated = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(generated)
        assert generated == file, f"{name}: run `make proto`."


@pytest.mark.parametrize("name", list(SERVICES))
def test_the_generated_stub_of_a_service_has_its_methods(name: str, compiled: dict[str, FileDescriptorProto]) -> None:
    package, _, service = name.rpartition(".")
    stem = next(stem for stem, other in PACKAGES.items() if other == package)
    module = importlib.import_module(f"ares_otel.api.jaeger.proto.{stem}_pb2_grpc")
    methods = {method.name for each in compiled[stem].service if each.name == service for method in each.method}
    assert {method for method in vars(getattr(module, f"{service}Servicer")) if method[0] != "_"} == methods


def test_packages_have_the_names_of_jaegers(compiled: dict[str, FileDescriptorProto]) -> None:
    assert {name: file.package for name, file in compiled.items() if "/jaeger/" in file.name} == PACKAGES


@pytest.mark.parametrize("name", list(MESSAGES))
def test_messages_have_the_names_numbers_and_types_of_jaegers(
    name: str, compiled: dict[str, FileDescriptorProto]
) -> None:
    found = {message.name: _fields(message.field) for message in compiled[name].message_type}
    assert found == {message: _numbered(fields) for message, fields in MESSAGES[name].items()}


def test_services_have_the_names_and_methods_of_jaegers(compiled: dict[str, FileDescriptorProto]) -> None:
    found = {
        f"{file.package}.{service.name}": ", ".join(
            f"{method.name}({_short(method.input_type)}) "
            f"{'stream ' if method.server_streaming else ''}{_short(method.output_type)}"
            for method in service.method
        )
        for file in compiled.values()
        for service in file.service
    }
    assert found == SERVICES


def test_the_attributes_of_a_v3_search_are_a_map_and_the_terms_of_an_expression_one_of_six(
    compiled: dict[str, FileDescriptorProto],
) -> None:
    query = next(message for message in compiled["api_v3"].message_type if message.name == "TraceQueryParameters")
    assert query.nested_type[0].options.map_entry
    assert _fields(query.nested_type[0].field) == _numbered("key string, value string")
    expression = compiled["expression_v1"].message_type[0]
    assert [field.oneof_index for field in expression.field] == [0] * 6
    assert [each.name for each in expression.oneof_decl] == ["term"]


def test_the_types_of_sampling_strategies_have_jaegers_numbers(compiled: dict[str, FileDescriptorProto]) -> None:
    values = compiled["sampling_v2"].enum_type[0].value
    assert {value.name: value.number for value in values} == {"PROBABILISTIC": 0, "RATE_LIMITING": 1}


def _numbered(fields: str) -> list[tuple[int, str]]:
    return [(number, field) for number, field in enumerate(fields.split(", "), 1) if field]


def _fields(fields: Iterable[FieldDescriptorProto]) -> list[tuple[int, str]]:
    return [(field.number, _field(field)) for field in sorted(fields, key=lambda field: field.number)]


def _field(field: FieldDescriptorProto) -> str:
    repeated = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
    return f"{field.name} {repeated}{TYPES.get(field.type) or _short(field.type_name)}"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def test_the_generated_modules_import_with_the_oldest_versions_that_the_project_allows() -> None:
    project = tomllib.loads((protos.ROOT / "pyproject.toml").read_text())["project"]
    found = [re.match(r"(protobuf|grpcio)>=([0-9.]+)", each) for each in project["dependencies"]]
    oldest = {match[1]: match[2] for match in found if match}
    for name, pattern in (("protobuf", "Python Version: ([0-9.]+)"), ("grpcio", "GENERATED_VERSION = '([0-9.]+)'")):
        texts = [file.read_text() for folder in protos.FOLDERS for file in folder.glob("*.py")]
        made_for = [match[1] for text in texts if (match := re.search(pattern, text))]
        assert made_for
        assert all(_version(each) <= _version(oldest[name]) for each in made_for)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])
