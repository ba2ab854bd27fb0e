"""Mistakes that people make in manifests, seeded one at a time: (name, variant, how the fault must begin, what to do).

Most of them are valid by every schema; each has to be caught by the cross-reference check.
"""

import tomllib

SINGLE, REPLICATED, WATCHED = "single", "replicated", "single with monitoring"
ROUTED = "replicated with monitoring and gateway-api"
GKE, ALB, AZURE, OPENSHIFT = (f"replicated on {name}" for name in ("gke", "alb", "azure", "openshift"))


def one(docs, kind, name=None):
    return next(doc for doc in docs if doc["kind"] == kind and name in (None, doc["metadata"]["name"]))


def pod(docs):
    return one(docs, "Deployment")["spec"]["template"]["spec"]


def container(docs):
    return pod(docs)["containers"][0]


def put(path, value):
    """A mutation that sets one place in the container, or removes it where the value is None."""
    def mutate(docs):
        *way, last = path
        place = container(docs)
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return mutate


def put_pod(key, value):
    return lambda docs: pod(docs).update({key: value})


def configure(old, new):
    """A mutation of the configuration file."""
    def mutate(docs):
        data = next(d for d in docs if d["kind"] == "ConfigMap" and "bridge.toml" in d["data"])["data"]
        data["bridge.toml"] = data["bridge.toml"].replace(old, new)
        tomllib.loads(data["bridge.toml"])
    return mutate


def variable(name, value):
    return lambda docs: container(docs)["env"].append({"name": name, "value": value})


def drop(kind):
    return lambda docs: docs.remove(one(docs, kind))


def admin_to_all(docs):
    one(docs, "NetworkPolicy")["spec"]["ingress"][0]["ports"].append({"protocol": "TCP", "port": "admin"})


def no_names(docs):
    rules = one(docs, "NetworkPolicy")["spec"]["egress"]
    rules[:] = [rule for rule in rules if not any(port["port"] == 53 for port in rule["ports"])]


def no_node_cache(docs):
    for rule in one(docs, "NetworkPolicy")["spec"]["egress"]:
        rule["to"] = [peer for peer in rule["to"] if peer.get("ipBlock", {}).get("cidr") != "169.254.20.10/32"]


def notes(docs):
    return one(docs, "Ingress")["metadata"]["annotations"]


def metadata_service(docs):
    for rule in one(docs, "NetworkPolicy")["spec"]["egress"]:
        for peer in rule["to"]:
            if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                peer["ipBlock"]["except"].remove("169.254.0.0/16")


def route_admin(docs):
    backend = one(docs, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    backend.update(name="fini-bridge-admin", port={"name": "admin"})


def one_service(docs):
    one(docs, "Service", "fini-bridge")["spec"]["ports"].append({"name": "admin", "port": 9090, "targetPort": "admin"})


MUTATIONS = [
    ("Service selects nothing", SINGLE, "selector:", lambda d: one(d, "Service", "fini-bridge")["spec"]["selector"].update(tier="web")),
    ("NetworkPolicy selects nothing", SINGLE, "selector:", lambda d: one(d, "NetworkPolicy")["spec"]["podSelector"].update(matchLabels={"app": "bridge"})),
    ("Deployment misses its own pods", SINGLE, "selector:", lambda d: one(d, "Deployment")["spec"]["selector"]["matchLabels"].update(app="x")),
    ("disruption budget counts nobody", REPLICATED, "selector:", lambda d: one(d, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(a="b")),
    ("spread counts other pods", REPLICATED, "selector:", lambda d: pod(d)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(a="b")),
    ("ServiceMonitor finds no service", WATCHED, "selector:", lambda d: one(d, "ServiceMonitor")["spec"]["selector"]["matchLabels"].update(a="b")),
    ("ServiceMonitor names a port nobody has", WATCHED, "port:", lambda d: one(d, "ServiceMonitor")["spec"]["endpoints"][0].update(port="metrics")),
    ("Service leads to a renamed port", SINGLE, "port:", put(("ports", 0, "name"), "web")),
    ("container port is not what the program listens on", SINGLE, "port:", put(("ports", 0, "containerPort"), 8000)),
    ("program listens on loopback", SINGLE, "port:", configure("[::]:8080", "127.0.0.1:8080")),
    ("Ingress leads to a missing service", SINGLE, "reference:", lambda d: d.remove(one(d, "Service", "fini-bridge"))),
    ("Ingress leads to a port the service lacks", SINGLE, "port:", lambda d: one(d, "Service", "fini-bridge")["spec"]["ports"][0].update(name="web")),
    ("HTTPRoute leads to a port the service lacks", ROUTED, "port:", lambda d: one(d, "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0].update(port=8080)),
    ("Ingress routes to operators' port", SINGLE, "exposure:", route_admin),
    ("public Service offers the admin port", SINGLE, "exposure:", one_service),
    ("Service is a load balancer", SINGLE, "exposure:", lambda d: one(d, "Service", "fini-bridge")["spec"].update(type="LoadBalancer")),
    ("Ingress without TLS", SINGLE, "exposure:", lambda d: one(d, "Ingress")["spec"].pop("tls")),
    ("Ingress routes everything", SINGLE, "exposure:", lambda d: one(d, "Ingress")["spec"]["rules"][0]["http"]["paths"][0].update(path="/")),
    ("Ingress buffers streams", SINGLE, "streams:", lambda d: one(d, "Ingress")["metadata"]["annotations"].pop("nginx.ingress.kubernetes.io/proxy-buffering")),
    ("Ingress ends streams after a minute", SINGLE, "streams:", lambda d: one(d, "Ingress")["metadata"]["annotations"].update({"nginx.ingress.kubernetes.io/proxy-read-timeout": "60"})),
    ("admin port open to the ingress controller", SINGLE, "exposure:", admin_to_all),
    ("egress not restricted", SINGLE, "exposure:", lambda d: one(d, "NetworkPolicy")["spec"].update(policyTypes=["Ingress"])),
    ("names cannot be resolved", SINGLE, "egress:", no_names),
    ("names cannot be resolved by a node's cache", SINGLE, "egress:", no_node_cache),
    ("Google probes what is no route", GKE, "probe:", lambda d: one(d, "BackendConfig")["spec"]["healthCheck"].update(requestPath="/")),
    ("Google ends streams after half a minute", GKE, "streams:", lambda d: one(d, "BackendConfig")["spec"].pop("timeoutSec")),
    ("Google's backend is not there", GKE, "reference:", lambda d: d.remove(one(d, "BackendConfig"))),
    ("Google's certificate is of another host", GKE, "exposure:", lambda d: one(d, "ManagedCertificate")["spec"].update(domains=["x.example.com"])),
    ("Amazon probes its default", ALB, "probe:", lambda d: notes(d).update({"alb.ingress.kubernetes.io/healthcheck-path": "/"})),
    ("Amazon sends to nodes", ALB, "draining:", lambda d: notes(d).pop("alb.ingress.kubernetes.io/target-type")),
    ("Amazon's patience of a minute", ALB, "streams:", lambda d: notes(d).pop("alb.ingress.kubernetes.io/load-balancer-attributes")),
    ("Amazon without a certificate", ALB, "exposure:", lambda d: notes(d).pop("alb.ingress.kubernetes.io/certificate-arn")),
    ("Azure probes the path that it routes", AZURE, "probe:", lambda d: notes(d).pop("appgw.ingress.kubernetes.io/health-probe-path")),
    ("Azure's patience of half a minute", AZURE, "streams:", lambda d: notes(d).pop("appgw.ingress.kubernetes.io/request-timeout")),
    ("OpenShift refuses a fixed user", OPENSHIFT, "security:", lambda d: pod(d)["securityContext"].update(fsGroup=65532)),
    ("OpenShift's router ends streams", OPENSHIFT, "streams:", lambda d: notes(d).pop("haproxy.router.openshift.io/timeout")),
    ("a class of controller that nobody knows", SINGLE, "streams:", lambda d: one(d, "Ingress")["spec"].update(ingressClassName="traefik")),
    ("metadata service can be reached", SINGLE, "egress:", metadata_service),
    ("probe of a route that does not exist", SINGLE, "probe:", put(("livenessProbe", "httpGet", "path"), "/livez")),
    ("probe of the public port", SINGLE, "probe:", put(("readinessProbe", "httpGet", "port"), "http")),
    ("liveness depends on Fini", SINGLE, "probe:", put(("livenessProbe", "httpGet", "path"), "/readyz")),
    ("readiness leaves out a check that is not there", SINGLE, "probe:", put(("readinessProbe", "httpGet", "path"), "/readyz?exclude=nothing")),
    ("readiness leaves out the store", SINGLE, "probe:", put(("readinessProbe", "httpGet", "path"), "/readyz?exclude=store")),
    ("too little time to start", SINGLE, "probe:", put(("startupProbe", "failureThreshold"), 10)),
    ("grace shorter than the program's", SINGLE, "grace:", put_pod("terminationGracePeriodSeconds", 50)),
    ("program's grace longer than the pod's", SINGLE, "grace:", configure('shutdown_grace = "45s"', 'shutdown_grace = "2m"')),
    ("no pause before SIGTERM", SINGLE, "grace:", put(("lifecycle",), None)),
    ("runs as root", SINGLE, "security:", lambda d: pod(d)["securityContext"].update(runAsUser=0)),
    ("root file system writable", SINGLE, "security:", put(("securityContext", "readOnlyRootFilesystem"), False)),
    ("capability kept", SINGLE, "security:", put(("securityContext", "capabilities"), {"drop": ["ALL"], "add": ["NET_ADMIN"]})),
    ("privileges can be gained", SINGLE, "security:", put(("securityContext", "allowPrivilegeEscalation"), None)),
    ("no seccomp profile", SINGLE, "security:", lambda d: pod(d)["securityContext"].pop("seccompProfile")),
    ("API token mounted", SINGLE, "security:", put_pod("automountServiceAccountToken", True)),
    ("no memory limit", SINGLE, "resources:", put(("resources", "limits"), None)),
    ("mount of a volume that is not there", SINGLE, "reference:", put(("volumeMounts", 0, "name"), "configuration")),
    ("claim that is not there", SINGLE, "reference:", drop("PersistentVolumeClaim")),
    ("service account that is not there", SINGLE, "reference:", drop("ServiceAccount")),
    ("configuration key misspelt", SINGLE, "configuration:", configure("trusted_proxies", "trusted_proxy")),
    ("environment key misspelt", SINGLE, "configuration:", variable("FINI_BRIDGE__STORE__RETENTIONS", "5d")),
    ("secret file outside the Secret", SINGLE, "configuration:", configure("/run/secrets/fini-bridge/admin_token", "/etc/fini-bridge/admin_token")),
    ("started with another file", SINGLE, "configuration:", put(("args", 2), "/etc/fini-bridge/config.toml")),
    ("secret in the ConfigMap", SINGLE, "secret:", configure('tokens_file = "/run/secrets/fini-bridge/web_tokens"', 'tokens = ["not-a-real-token-but-inline"]')),
    ("admin without a token", SINGLE, "secret:", configure('token_file = "/run/secrets/fini-bridge/admin_token"', "")),
    ("Secret in the repository", SINGLE, "secret:", lambda d: d.append({"kind": "Secret", "metadata": {"name": "x", "namespace": "fini-bridge"}})),
    ("password in the environment", REPLICATED, "secret:", variable("FINI_BRIDGE__STORE__URL", "postgres://u:" + "pass" + "@db/x")),
    ("image not pinned", SINGLE, "image:", put(("image",), "registry.example.com/fini-bridge:latest")),
    ("image of another version", SINGLE, "image:", put(("image",), "registry.example.com/fini-bridge:9.9.9")),
    ("two replicas on SQLite", SINGLE, "scale:", lambda d: one(d, "Deployment")["spec"].update(replicas=2)),
    ("rolling update on SQLite", SINGLE, "scale:", lambda d: one(d, "Deployment")["spec"].update(strategy={"type": "RollingUpdate"})),
    ("database not on the volume", SINGLE, "scale:", lambda d: container(d)["volumeMounts"].remove(next(m for m in container(d)["volumeMounts"] if m["name"] == "data"))),
    ("replicas owned twice", REPLICATED, "scale:", lambda d: one(d, "Deployment")["spec"].update(replicas=2)),
    ("no disruption budget", REPLICATED, "scale:", drop("PodDisruptionBudget")),
    ("a single replica at night", REPLICATED, "scale:", lambda d: one(d, "HorizontalPodAutoscaler")["spec"].update(minReplicas=1)),
    ("more connections than the server has", REPLICATED, "scale:", lambda d: one(d, "HorizontalPodAutoscaler")["spec"].update(maxReplicas=20)),
    ("database cannot be reached", REPLICATED, "egress:", lambda d: one(d, "NetworkPolicy")["spec"]["egress"].pop()),
    ("autoscaler scales something else", REPLICATED, "reference:", lambda d: one(d, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="bridge")),
    ("object in another namespace", SINGLE, "namespace:", lambda d: one(d, "Service", "fini-bridge")["metadata"].update(namespace="default")),
    ("restricted pods not enforced", SINGLE, "namespace:", lambda d: one(d, "Namespace")["metadata"].pop("labels")),
]
