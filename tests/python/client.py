"""A client made from the contract's files alone, with grpcio as it is: no option of the channel is set.

    client.py PROTO_FOLDER WORK_FOLDER ADDRESS TARGET

Prints one line for each thing that it did; `tests/suite/python.rs` reads them.
"""

import pathlib
import sys
import uuid

import grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

protos, work, address, target = sys.argv[1:]

files = [str(path) for path in sorted(pathlib.Path(protos).glob("resetd/v1/*.proto"))]
well_known = str(pathlib.Path(protoc.__file__).parent / "_proto")
arguments = ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={work}", f"--grpc_python_out={work}"]
assert protoc.main(arguments + files) == 0, "the contract cannot be compiled"
sys.path.insert(0, work)

from resetd.v1 import operation_service_pb2 as operation  # noqa: E402
from resetd.v1 import operation_service_pb2_grpc as operation_grpc  # noqa: E402
from resetd.v1 import system_service_pb2 as system  # noqa: E402
from resetd.v1 import system_service_pb2_grpc as system_grpc  # noqa: E402

TIMEOUT = 60


def run(confirmation):
    """A whole run; its events."""
    options = operation.OperationOptions(request_id=str(uuid.uuid4()), target=target)
    destructive = operation.DestructiveOptions(confirmation=confirmation)
    request = operation.RunRequest(options=options, destructive=destructive)
    return [reply.event for reply in operations.Run(request, timeout=TIMEOUT)]


with grpc.insecure_channel(address) as channel:
    info = system_grpc.SystemServiceStub(channel).GetServerInfo(system.GetServerInfoRequest(), timeout=TIMEOUT)
    print("principal", info.principal)
    operations = operation_grpc.OperationServiceStub(channel)

    try:
        run("")
        print("refused", "not at all")
    except grpc.RpcError as error:
        details = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
        print("refused", error.code().name, b"CONFIRMATION_MISSING" in b"".join(details))

    try:
        options = operation.OperationOptions(request_id="not a uuid", target=target)
        list(operations.Validate(operation.ValidateRequest(options=options), timeout=TIMEOUT))
        print("violation", "none")
    except grpc.RpcError as error:
        details = b"".join(value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
        print("violation", error.code().name, b"google.rpc.BadRequest" in details and b"options.request_id" in details)

    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    print("reflection", "resetd.v1.OperationService" in services)

    events = run("RESET")
    numbered = [event for event in events if event.sequence > 0]
    print("events", [event.sequence for event in numbered] == list(range(1, len(numbered) + 1)))
    print("end", events[-1].code, events[-1].finished.exit_code)

    watch = operation.WatchOperationRequest(operation=events[0].operation, start_sequence=1)
    again = [reply.event for reply in operations.WatchOperation(watch, timeout=TIMEOUT)]
    print("again", [event.code for event in again if event.sequence > 0] == [event.code for event in numbered])

    chunks = operations.GetReport(operation.GetReportRequest(operation=events[0].operation), timeout=TIMEOUT)
    print("report", b"".join(chunk.chunk for chunk in chunks).startswith(b"{"))
