"""The contract's services: a stub for each, as grpcio-tools would make it, for channels of grpc and grpc.aio."""

from google.protobuf import descriptor_pb2

from . import messages

_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def _stub(service):
    def init(self, channel):
        for method in service.method:
            make = getattr(channel, _KINDS[method.client_streaming, method.server_streaming])
            takes, gives = (
                getattr(messages, name.rsplit(".", 1)[1]) for name in (method.input_type, method.output_type)
            )
            call = make(
                f"/{messages.DESCRIPTOR.package}.{service.name}/{method.name}",
                request_serializer=takes.SerializeToString,
                response_deserializer=gives.FromString,
            )
            setattr(self, method.name, call)

    return type(
        f"{service.name}Stub", (), {"__init__": init, "__doc__": f"Calls of {service.name}.", "__module__": __name__}
    )


# The descriptor's own objects differ between protobuf's implementations and versions; its message does not.
_file = descriptor_pb2.FileDescriptorProto.FromString(messages.DESCRIPTOR.serialized_pb)

for _service in _file.service:
    globals()[f"{_service.name}Stub"] = _stub(_service)

__all__ = [f"{_service.name}Stub" for _service in _file.service]
