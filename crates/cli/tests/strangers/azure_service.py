"""Python azure-iot-hub as its documentation shows it: registry, twins, methods, configurations, queries, jobs."""

import time

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import (
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
)
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    JobRequest,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

from hub import ca_text, host_name, isotherm, ready, rest, soon

owner = ready["policies"]["iothubowner"]
registry = IoTHubRegistryManager.from_connection_string(owner)


def refused(status, code, call, *arguments):
    try:
        call(*arguments)
    except HttpOperationError as error:
        assert error.response.status_code == status, (error.response.status_code, error.response.text)
        assert error.response.headers["iothub-errorcode"] == code, error.response.headers
        return error.response.json()
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


# devices
device = registry.create_device_with_sas("d1", "", "", "enabled")
key = device.authentication.symmetric_key.primary_key
assert len(key) == 44 and device.status == "enabled" and device.connection_state == "Disconnected", device
body = refused(409, "DeviceAlreadyExists", registry.create_device_with_sas, "d1", "", "", "enabled")
assert body["Message"].startswith("ErrorCode:DeviceAlreadyExists;"), body
own = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
assert registry.create_device_with_sas("d2", own, own, "disabled").authentication.symmetric_key.primary_key == own
updated = registry.update_device_with_sas("d2", registry.get_device("d2").etag, own, own, "enabled")
assert updated.status == "enabled"
refused(412, "PreconditionFailed", registry.update_device_with_sas, "d2", "c3RhbGU=", own, own, "enabled")
thumbprint = "A" * 40
by_thumbprint = registry.create_device_with_x509("x1", thumbprint, thumbprint, "enabled")
assert by_thumbprint.authentication.type == "selfSigned"
assert registry.create_device_with_certificate_authority("x2", "enabled").authentication.type == "certificateAuthority"
assert [device.device_id for device in registry.get_devices(3)] == ["d1", "d2", "edge"]
statistics = registry.get_device_registry_statistics()
assert (statistics.total_device_count, statistics.disabled_device_count) == (5, 0), statistics
assert registry.get_service_statistics().connected_device_count == 0
refused(404, "DeviceNotFound", registry.get_device, "nobody")
registry.delete_device("x1")
refused(404, "DeviceNotFound", registry.delete_device, "x1")

# an edge device brings its own two modules
edge = registry.create_device_with_sas("e1", "", "", "enabled", iot_edge=True)
assert edge.capabilities.iot_edge and edge.device_scope.startswith("ms-azure-iot-edge://e1-"), edge
assert [module.module_id for module in registry.get_modules("e1")] == ["$edgeAgent", "$edgeHub"]
child = registry.create_device_with_sas("c1", "", "", "enabled", device_scope=edge.device_scope)
assert child.device_scope == edge.device_scope

# modules
module = registry.create_module_with_sas("d1", "m1", "me", "", "")
assert module.managed_by == "me" and module.authentication.symmetric_key.primary_key
body = refused(409, "ModuleAlreadyExistsOnDevice", registry.create_module_with_sas, "d1", "m1", "me", "", "")
assert body["errorCode"] == 409301 and body["trackingId"], body
refused(404, "ModuleNotFound", registry.get_module, "d1", "nobody")
module = registry.update_module_with_sas("d1", "m1", "you", module.etag, own, own)
assert module.managed_by == "you"
registry.create_module_with_sas("d1", "m2", "", own, own)
registry.delete_module("d1", "m2")
assert [module.module_id for module in registry.get_modules("d1")] == ["m1"]

# bulk
many = [ExportImportDevice(id=f"b{i}", import_mode="create", status="enabled") for i in range(3)]
result = registry.bulk_create_or_update_devices(many)
assert result.is_successful and not result.errors, result
again = registry.bulk_create_or_update_devices(many[:1] + [ExportImportDevice(id="b1", import_mode="delete")])
assert not again.is_successful and again.errors[0].error_code == "DeviceAlreadyExists", again.errors[0]
assert again.errors[0].device_id == "b0" and len(again.errors) == 1
refused(404, "DeviceNotFound", registry.get_device, "b1")

# twins
twin = registry.get_twin("d1")
assert twin.properties.desired["$version"] == 1 and twin.properties.reported["$version"] == 1, twin
twin = registry.update_twin("d1", Twin(tags={"site": "a", "floor": 1}, properties=TwinProperties(desired={"x": {"y": 1}})), twin.etag)
assert twin.tags == {"site": "a", "floor": 1} and twin.properties.desired["x"] == {"y": 1}, twin
assert twin.properties.desired["$metadata"]["x"]["y"]["$lastUpdatedVersion"] == 2, twin.properties.desired
refused(412, "PreconditionFailed", registry.update_twin, "d1", Twin(tags={"site": "b"}), "c3RhbGU=")
twin = registry.update_twin("d1", Twin(properties=TwinProperties(desired={"x": None, "z": [1, "two"]})))
assert "x" not in twin.properties.desired and twin.properties.desired["z"] == [1, "two"]
twin = registry.replace_twin("d1", Twin(tags={"only": 1}, properties=TwinProperties(desired={"w": 1})))
assert twin.tags == {"only": 1} and "z" not in twin.properties.desired
body = refused(400, "ArgumentInvalid", registry.update_twin, "d1", Twin(properties=TwinProperties(desired={"a.b": 1})))
assert "a.b" in body["Message"], body
twin = registry.update_module_twin("d1", "m1", Twin(properties=TwinProperties(desired={"m": 1})), registry.get_module_twin("d1", "m1").etag)
assert twin.module_id == "m1" and twin.properties.desired["m"] == 1
refused(404, "DeviceNotFound", registry.get_twin, "nobody")
refused(404, "ModuleNotFound", registry.get_module_twin, "d1", "nobody")

# methods
refused(404, "DeviceNotOnline", registry.invoke_device_method, "d1", CloudToDeviceMethod(method_name="m"))
refused(404, "DeviceNotFound", registry.invoke_device_method, "nobody", CloudToDeviceMethod(method_name="m"))
client = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={host_name};DeviceId=d1;SharedAccessKey={key}", server_verification_cert=ca_text(), product_info="dtmi:com:example:Thermostat;1",
)
client.connect()
client.on_method_request_received = lambda request: request.name != "silent" and client.send_method_response(
    MethodResponse.create_from_method_request(request, 299, {"name": request.name, "got": request.payload})
)
answer = registry.invoke_device_method(
    "d1", CloudToDeviceMethod(method_name="echo", payload={"a": [1]}, connect_timeout_in_seconds=5, response_timeout_in_seconds=5)
)
assert answer.status == 299 and answer.payload == {"name": "echo", "got": {"a": [1]}}, answer
assert registry.invoke_device_method("d1", CloudToDeviceMethod(method_name="none")).payload["got"] == ""
started = time.monotonic()
refused(504, "GatewayTimeout", registry.invoke_device_method, "d1",
        CloudToDeviceMethod(method_name="silent", payload=None, response_timeout_in_seconds=5))
assert 4.5 < time.monotonic() - started < 15
assert registry.get_device("d1").connection_state == "Connected"
assert registry.get_service_statistics().connected_device_count == 1

# queries, page by page
client.patch_twin_reported_properties({"temp": 21.5, "kind": "warm"})
for name, tags in {"d2": {"site": "north", "floor": 1}, "b0": {"site": "north", "floor": 2}, "b2": {"site": "south"}}.items():
    registry.update_twin(name, Twin(tags=tags))


def query(text, page=None):
    rows, token = [], None
    while True:
        result = registry.query_iot_hub(QuerySpecification(query=text), token, page)
        assert page is None or len(result.items) <= page
        rows, token = rows + result.items, result.continuation_token
        if not token:
            return rows, result.type


rows, kind = query("SELECT * FROM devices", 2)
assert [row.device_id for row in rows] == ["b0", "b2", "c1", "d1", "d2", "e1", "edge", "x2"], rows
assert kind.lower() == "twin"
rows, _ = query("SELECT * FROM devices WHERE tags.site = 'north' AND (tags.floor > 1 OR deviceId IN ['d2'])")
assert [row.device_id for row in rows] == ["b0", "d2"]
rows, _ = query("SELECT * FROM devices WHERE properties.reported.temp >= 21.5 AND startswith(properties.reported.kind, 'wa')")
assert [row.device_id for row in rows] == ["d1"]
rows, _ = query("SELECT * FROM devices WHERE capabilities.iotEdge = true AND NOT is_defined(tags.site) AND connectionState != 'Connected'")
assert [row.device_id for row in rows] == ["e1", "edge"]
rows, _ = query("SELECT * FROM devices.modules WHERE moduleId = 'm1'")
assert [(row.device_id, row.module_id) for row in rows] == [("d1", "m1")]
status, rows = rest("POST", "/devices/query", {"query": "SELECT tags.site AS site, COUNT() AS n FROM devices WHERE is_defined(tags.site) GROUP BY tags.site"})
assert status == 200 and rows == [{"site": "north", "n": 2}, {"site": "south", "n": 1}], rows
rows, _ = query("SELECT TOP 1 * FROM devices")
assert len(rows) == 1
body = refused(400, "ArgumentInvalid", query, "SELECT * FROM devices WHERE tags.site = ")
assert "character" in body["Message"], body

# configurations
configurations = IoTHubConfigurationManager.from_connection_string(owner)
wanted = Configuration(
    id="c1", schema_version="1.0", priority=10, target_condition="tags.site = 'north'", labels={"a": "b"},
    content=ConfigurationContent(device_content={"properties.desired.chiller": {"temperature": 66}}),
)
created = configurations.create_configuration(wanted)
assert created.etag and created.priority == 10 and created.content.device_content, created
assert created.system_metrics.results["targetedCount"] == 2, created.system_metrics.results
refused(409, "ConfigurationAlreadyExists", configurations.create_configuration, wanted)
wanted.priority = 11
assert configurations.update_configuration(wanted, created.etag).priority == 11
refused(412, "PreconditionFailed", configurations.update_configuration, wanted, created.etag)
assert [it.id for it in configurations.get_configurations(5)] == ["c1"]
tested = configurations.test_configuration_queries(
    ConfigurationQueriesTestInput(target_condition="tags.a = ", custom_metric_queries={"good": "SELECT deviceId FROM devices", "bad": "SELECT"})
)
assert "character" in tested.target_condition_error and list(tested.custom_metric_query_errors) == ["bad"], tested
configurations.delete_configuration("c1")
refused(404, "ConfigurationNotFound", configurations.get_configuration, "c1")
configurations.apply_configuration_on_edge_device("e1", ConfigurationContent(modules_content={
    "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}}, "systemModules": {}, "modules": {}}},
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}, "storeAndForwardConfiguration": {"timeToLiveSecs": 60}}},
    "worker": {"properties.desired": {"speed": 3}},
}))
assert registry.get_module("e1", "worker").managed_by == "IotEdge"
assert registry.get_module_twin("e1", "worker").properties.desired["speed"] == 3

# jobs
jobs = IoTHubJobManager.from_connection_string(owner)


def done(job_id):
    return soon(lambda: (lambda job: job if job.status in ("completed", "failed", "cancelled") else None)(jobs.get_scheduled_job(job_id)), job_id)


job = jobs.create_scheduled_job("j1", JobRequest(
    job_id="j1", type="scheduleUpdateTwin", max_execution_time_in_seconds=60,
    update_twin=Twin(etag="*", properties=TwinProperties(desired={"job": 1})), query_condition="tags.site = 'north'",
))
assert job.job_id == "j1" and job.type == "scheduleUpdateTwin", job
finished = done("j1")
assert (finished.status, finished.device_job_statistics.succeeded_count) == ("completed", 2), finished
assert registry.get_twin("d2").properties.desired["job"] == 1 and "job" not in registry.get_twin("d1").properties.desired
jobs.create_scheduled_job("j2", JobRequest(
    job_id="j2", type="scheduleDeviceMethod", max_execution_time_in_seconds=60,
    cloud_to_device_method=CloudToDeviceMethod(method_name="work", payload={"n": 1}), query_condition="deviceId IN ['d1', 'd2']",
))
finished = done("j2")
statistics = finished.device_job_statistics
assert (statistics.device_count, statistics.succeeded_count, statistics.failed_count) == (2, 1, 1), finished
status, rows = rest("POST", "/devices/query", {"query": "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j2'"})
assert [row["status"] for row in rows] == ["completed", "failed"], rows
assert rows[0]["outcome"]["deviceMethodResponse"]["payload"]["got"] == {"n": 1}, rows
assert rows[1]["error"]["code"] == "404103", rows
jobs.create_scheduled_job("j3", JobRequest(
    job_id="j3", type="scheduleUpdateTwin", start_time="2099-01-01T00:00:00Z", max_execution_time_in_seconds=60,
    update_twin=Twin(etag="*", tags={"late": 1}), query_condition="*",
))
assert jobs.get_scheduled_job("j3").status == "scheduled"
assert jobs.cancel_scheduled_job("j3").status == "cancelled"
# (query_scheduled_jobs of this SDK cannot read the list that IoT Hub answers with)
status, listed = rest("GET", "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=completed")
assert [job["jobId"] for job in listed] == ["j1"], listed
refused(404, "JobNotFound", jobs.get_scheduled_job, "nothing")

# digital twins
twins = DigitalTwinClient.from_connection_string(owner)
assert twins.get_digital_twin("d1")["temp"] == 21.5
assert twins.get_digital_twin("d1")["$metadata"]["$model"] == "dtmi:com:example:Thermostat;1"
twins.update_digital_twin("d1", [{"op": "add", "path": "/target", "value": 20}])
assert registry.get_twin("d1").properties.desired["target"] == 20
assert twins.invoke_command("d1", "reboot", {"now": True})["got"] == {"now": True}

# cloud-to-device with feedback, by REST
client.on_message_received = lambda message: None
status, _ = rest("POST", "/isotherm/v1/devices/d1/messages/devicebound", {"hello": 1}, {"iothub-messageid": "f-1", "iothub-ack": "full"})
assert status in (200, 204), status
runtime = IoTHubHttpRuntimeManager.from_connection_string(owner)


def feedback():
    status, records = rest("GET", "/messages/serviceBound/feedback")
    return records if status == 200 else None


records = soon(feedback, "feedback")
assert records[0]["originalMessageId"] == "f-1" and records[0]["statusCode"] == "Success", records
runtime.receive_feedback_notification()

# what a policy lacks is refused, and said
readers = IoTHubRegistryManager.from_connection_string(ready["policies"]["registryRead"])
assert readers.get_device("d1").device_id == "d1"
refused(401, "IotHubUnauthorizedAccess", readers.create_device_with_sas, "no", "", "", "enabled")
refused(401, "IotHubUnauthorizedAccess", readers.get_twin, "d1")
service = IoTHubRegistryManager.from_connection_string(ready["policies"]["service"])
assert service.get_twin("d1").device_id == "d1"
refused(401, "IotHubUnauthorizedAccess", service.get_device, "d1")

# a disabled device is thrown out and not let in
registry.update_device_with_sas("d1", registry.get_device("d1").etag, key, key, "disabled")
soon(lambda: registry.get_device("d1").connection_state == "Disconnected", "a disabled device's end")
client.shutdown()
print("ok")
