"""What Python's kubernetes asks of the API; the test beside it runs this."""

import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

config.load_kube_config()
api = client.ApiClient()


def profile(name):
    return {
        "apiVersion": "stead.dev/v1",
        "kind": "Profile",
        "metadata": {"name": name, "labels": {"role": "web"}},
        "spec": {"selector": {"matchLabels": {"role": "web"}}, "files": [{"path": "/etc/motd", "content": "hello\n"}]},
    }


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code, error
        return error
    raise AssertionError(f"{call} was not refused")


assert client.VersionApi().get_code().major == "1"

objects = client.CustomObjectsApi()
place = {"group": "stead.dev", "version": "v1", "plural": "profiles"}
objects.create_cluster_custom_object(body=profile("web"), **place)
patched = objects.patch_cluster_custom_object(name="web", body={"metadata": {"labels": {"a": "b"}}}, **place)
assert patched["metadata"]["labels"]["a"] == "b"
operations = [{"op": "replace", "path": "/metadata/labels/a", "value": "c"}]
objects.patch_cluster_custom_object(name="web", body=operations, _content_type="application/json-patch+json", **place)
read = objects.get_cluster_custom_object(name="web", **place)
read["spec"]["files"][0]["content"] = "servus\n"
objects.replace_cluster_custom_object(name="web", body=read, **place)
refused(409, objects.replace_cluster_custom_object, name="web", body=read, **place)
refused(404, objects.get_cluster_custom_object, name="none", **place)
refused(400, objects.create_cluster_custom_object, body={**profile("bad"), "extra": 1}, **place)

seen = []
for event in watch.Watch().stream(objects.list_cluster_custom_object, timeout_seconds=1, **place):
    seen.append((event["type"], event["object"]["metadata"]["name"]))
assert seen == [("ADDED", "web")], seen

core = client.CoreV1Api()
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="team")))
core.patch_namespace("team", {"metadata": {"labels": {"a": "b"}}})
assert core.read_namespace("team").metadata.labels["a"] == "b"
core.delete_namespace("team")
refused(404, core.read_namespace, "team")

leases = client.CoordinationV1Api()
lease = leases.create_namespaced_lease("default", client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec(holder_identity="me")))
lease.spec.lease_transitions = 1
lease.spec.renew_time = lease.metadata.creation_timestamp
lease = leases.replace_namespaced_lease("l", "default", lease)
assert lease.spec.lease_transitions == 1
leases.patch_namespaced_lease("l", "default", {"spec": {"leaseTransitions": 2}})
assert leases.read_namespaced_lease("l", "default").spec.lease_transitions == 2

profiles = dynamic.DynamicClient(api).resources.get(api_version="stead.dev/v1", kind="Profile")
assert profiles.get(name="web").spec.files[0].content == "servus\n"
refused(415, profiles.patch, name="web", body={"metadata": {"labels": {"a": "d"}}})
profiles.patch(name="web", body={"metadata": {"labels": {"a": "d"}}}, content_type="application/merge-patch+json")
assert [item.metadata.name for item in profiles.get(label_selector="a=d").items] == ["web"]
threading.Timer(0.1, lambda: profiles.create(body=profile("late"))).start()
for event in profiles.watch(timeout=60):
    if event["object"].metadata.name == "late":
        break
profiles.delete(name="late")

wanted = {"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web", "labels": {"tier": "one"}}}
applied = profiles.server_side_apply(body=wanted, field_manager="python")
assert applied.metadata.labels.tier == "one" and applied.metadata.labels.a == "d"
mine = [entry for entry in applied.metadata.managedFields if entry.manager == "python"]
assert mine[0].operation == "Apply" and mine[0].fieldsV1.to_dict() == {"f:metadata": {"f:labels": {"f:tier": {}}}}, mine
wanted["metadata"]["labels"]["a"] = "e"
conflict = refused(409, profiles.server_side_apply, body=wanted, field_manager="python")
assert "Apply failed with 1 conflict" in str(conflict.body) and ".metadata.labels.a" in str(conflict.body), conflict.body
profiles.server_side_apply(body=wanted, field_manager="python", force_conflicts=True)
assert profiles.get(name="web").metadata.labels.a == "e"
patched = objects.patch_cluster_custom_object(
    name="web",
    body={**wanted, "metadata": {"name": "web", "labels": {"a": "e"}}},
    field_manager="python",
    _content_type="application/apply-patch+yaml",
    **place,
)
assert "tier" not in patched["metadata"]["labels"], patched
lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "s"}, "spec": {"holderIdentity": "me"}}
made = leases.patch_namespaced_lease("s", "default", lease, field_manager="one", _content_type="application/apply-patch+yaml")
assert made.spec.holder_identity == "me" and made.metadata.managed_fields[0].manager == "one"

profiles.delete(name="web")
assert profiles.get().items == []
print("done")
