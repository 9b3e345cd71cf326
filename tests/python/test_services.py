"""The standard services: health and reflection, as stock clients use them."""

import http.client
import json

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICES = ("ml.ModelManagementService", "ml.StreamService")


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_says_serving(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="none"), timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_describes_the_contract(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= set(SERVICES)
    frame = DescriptorPool(database).FindMessageTypeByName("ml.VideoFrame")
    assert {field.number: field.name for field in frame.fields} == {
        1: "frame_data",
        2: "format",
        3: "width",
        4: "height",
        5: "timestamp_ms",
        6: "frame_number",
        7: "metadata",
    }


def test_an_unknown_method_is_unimplemented(channel):
    call = channel.unary_unary("/ml.StreamService/None")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_http_1_is_answered_on_the_same_port(hub):
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
    for path, status in (("/healthz", 200), ("/none", 404), ("/healthz", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == status, path


def test_status_tells_where_the_hub_is(hub):
    done = hub.run("status")
    assert done.returncode == 0, done.stderr
    assert hub.address in done.stdout
    with hub.native() as extension:
        status = extension.request("status")
        assert status["grpc"] == hub.address
        assert status["pid"] == hub.info["pid"]
        assert status["version"] == hub.info["version"]
    assert json.dumps(status).count(hub.token) == 0


def test_the_hub_ends_when_it_is_told_to_and_leaves_nothing_behind(hub):
    assert hub.stop() == 0
    left = {path.name for path in hub.runtime_dir.iterdir()}
    assert left <= {"hub.lock", "hub.log"}, left
