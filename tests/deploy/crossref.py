"""What must hold between the manifests, the configuration and the program.

Schema checkers look at one object at a time; this looks at what objects say of each other. `faults(docs, facts)` returns
one line per fault and nothing when all is well. Pure: rendering and reading is the caller's.
"""

import re
import tomllib

from facts import seconds

WORKLOADS = {"Deployment", "StatefulSet"}
CLUSTER_WIDE = {"Namespace"}


def within(labels, wanted):
    return bool(wanted) and all((labels or {}).get(key) == value for key, value in wanted.items())


def named(docs, kind):
    return {doc["metadata"]["name"]: doc for doc in docs if doc["kind"] == kind}


def pods(docs):
    """(workload, its pod template) of every workload."""
    return [(doc, doc["spec"]["template"]) for doc in docs if doc["kind"] in WORKLOADS]


def faults(docs, facts):
    """Everything that does not fit together in one rendering."""
    found = []
    say = found.append
    if not pods(docs):
        say("no workload at all")
    selectors(docs, say)
    ports(docs, say)
    references(docs, say)
    exposure(docs, facts, say)
    for workload, template in pods(docs):
        spec = template["spec"]
        security(spec, any(i["spec"].get("ingressClassName") == "openshift-default" for i in named(docs, "Ingress").values()), say)
        config = configuration(docs, spec, facts, say)
        if config:
            listening(config, spec, say)
            endings(config, spec, say)
        probes(spec, facts, say)
        images(spec, facts, say)
        scale(docs, workload, spec, say)
        egress(docs, spec, say)
    secrets(docs, say)
    namespaces(docs, say)
    return found


def selectors(docs, say):
    for doc, template in pods(docs):
        if not within(template["metadata"]["labels"], doc["spec"]["selector"]["matchLabels"]):
            say(f"selector: {doc['kind']} does not select its own pods")
        for spread in template["spec"].get("topologySpreadConstraints", []):
            if not within(template["metadata"]["labels"], spread["labelSelector"]["matchLabels"]):
                say("selector: a topology spread counts other pods")
    everyone = [template["metadata"]["labels"] for _, template in pods(docs)]
    for doc in docs:
        spec, where = doc.get("spec", {}), f"{doc['kind']}/{doc['metadata']['name']}"
        wanted = {
            "Service": lambda: spec.get("selector"),
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"].get("matchLabels"),
        }.get(doc["kind"])
        if wanted and not any(within(labels, wanted()) for labels in everyone):
            say(f"selector: {where} selects no pod")
        if doc["kind"] == "ServiceMonitor":
            services = [s for s in named(docs, "Service").values() if within(s["metadata"].get("labels"), spec["selector"]["matchLabels"])]
            if len(services) != 1:
                say(f"selector: {where} selects {len(services)} services instead of one")
            for endpoint in spec["endpoints"]:
                if not any(port["name"] == endpoint["port"] for s in services for port in s["spec"]["ports"]):
                    say(f"port: {where} scrapes a port its service does not have: {endpoint['port']}")


def ports(docs, say):
    for name, service in named(docs, "Service").items():
        for _, template in pods(docs):
            open_ports = [port for c in template["spec"]["containers"] for port in c.get("ports", [])]
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                if not any(target in (each["name"], each["containerPort"]) for each in open_ports):
                    say(f"port: Service/{name} leads to a port no container has: {target}")
    for doc in docs:
        for service, port in backends(doc):
            known = named(docs, "Service").get(service)
            if not known:
                say(f"reference: {doc['kind']} leads to a service that is not there: {service}")
            elif not any(port in (each["name"], each["port"]) for each in known["spec"]["ports"]):
                say(f"port: {doc['kind']} leads to a port the service does not have: {port}")


def backends(doc):
    """(service, port) of everything an Ingress or HTTPRoute routes to."""
    spec = doc.get("spec", {})
    if doc["kind"] == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield service["name"], service["port"].get("name") or service["port"].get("number")
    if doc["kind"] == "HTTPRoute":
        for rule in spec["rules"]:
            for backend in rule["backendRefs"]:
                yield backend["name"], backend["port"]


def references(docs, say):
    for doc, template in pods(docs):
        spec = template["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in doc["spec"].get("volumeClaimTemplates", [])}
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    say(f"reference: a mount of a volume that is not there: {mount['name']}")
        for volume in spec.get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in named(docs, "ConfigMap"):
                say(f"reference: a ConfigMap that is not there: {volume['configMap']['name']}")
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in named(docs, "PersistentVolumeClaim"):
                say(f"reference: a claim that is not there: {claim}")
        if spec.get("serviceAccountName") not in named(docs, "ServiceAccount"):
            say(f"reference: a service account that is not there: {spec.get('serviceAccountName')}")
    for name, scaler in named(docs, "HorizontalPodAutoscaler").items():
        target = scaler["spec"]["scaleTargetRef"]
        if target["name"] not in named(docs, target["kind"]):
            say(f"reference: HorizontalPodAutoscaler/{name} scales what is not there: {target['kind']}/{target['name']}")


def exposure(docs, facts, say):
    """Operators' business stays inside."""
    admin = {name for name, s in named(docs, "Service").items() for p in s["spec"]["ports"] if p.get("targetPort") in ("admin", 9090)}
    public = {name for name, s in named(docs, "Service").items() for p in s["spec"]["ports"] if p.get("targetPort") in ("http", 8080)}
    for both in admin & public:
        say(f"exposure: Service/{both} offers the admin port beside the public one")
    for name, service in named(docs, "Service").items():
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            say(f"exposure: Service/{name} opens a port to the outside by itself")
    for doc in docs:
        for service, _ in backends(doc):
            if service in admin:
                say(f"exposure: {doc['kind']} routes to the admin port")
        if doc["kind"] == "Ingress":
            ingress(doc, docs, facts, say)
    for name, policy in named(docs, "NetworkPolicy").items():
        if set(policy["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
            say(f"exposure: NetworkPolicy/{name} leaves a direction open")
        for rule in policy["spec"].get("ingress", []):
            open_ports = {port.get("port") for port in rule.get("ports", [])}
            if not rule.get("from") or not open_ports:
                say(f"exposure: NetworkPolicy/{name} lets everybody in, or to every port")
            if open_ports & {"admin", 9090} and ("http" in open_ports or not all(p.get("podSelector") for p in rule.get("from", []))):
                say(f"exposure: NetworkPolicy/{name} opens the admin port to more than the pods of Prometheus")


# Of each controller: where TLS is ended, and what its streams need. A load balancer that probes by itself must be told where, since
# "/" and "/v1" are no routes.
NGINX, ALB, AZURE, ROUTER = ("nginx.ingress.kubernetes.io/", "alb.ingress.kubernetes.io/", "appgw.ingress.kubernetes.io/", "haproxy.router.openshift.io/")


def ingress(doc, docs, facts, say):
    spec, notes = doc["spec"], doc["metadata"].get("annotations", {})
    kind = spec.get("ingressClassName") or notes.get("kubernetes.io/ingress.class")
    secured = {host for tls in spec.get("tls", []) for host in tls["hosts"]}
    if kind == "alb" and notes.get(ALB + "certificate-arn") and notes.get(ALB + "ssl-redirect") == "443":
        secured = {rule.get("host") for rule in spec["rules"]}
    if kind == "gce" and notes.get("kubernetes.io/ingress.allow-http") == "false":
        secured = {host for c in named(docs, "ManagedCertificate").values() for host in c["spec"]["domains"]}
    for rule in spec["rules"]:
        if rule.get("host") not in secured:
            say(f"exposure: Ingress serves {rule.get('host')} without TLS")
        for path in rule["http"]["paths"]:
            if path["path"] not in ("/v1", "/openapi.json"):
                say(f"exposure: Ingress routes {path['path']}, which is not the public API")
    probe, patience = "/healthz", None
    if kind == "nginx":
        if notes.get(NGINX + "proxy-buffering") != "off":
            say("streams: Ingress buffers event streams")
        patience = int(notes.get(NGINX + "proxy-read-timeout", 60))
    elif kind == "alb":
        patience = int(dict(part.split("=") for part in notes.get(ALB + "load-balancer-attributes", "").split(",") if part).get("idle_timeout.timeout_seconds", 60))
        if notes.get(ALB + "target-type") != "ip":
            say("draining: the load balancer sends to nodes instead of pods")
        probe = notes.get(ALB + "healthcheck-path")
    elif kind == "gce":
        service = named(docs, "Service")["fini-bridge"]["metadata"].get("annotations", {})
        if "ingress" not in service.get("cloud.google.com/neg", ""):
            say("draining: the load balancer sends to nodes instead of pods")
        wanted = re.search(r'"default": "([^"]+)"', service.get("cloud.google.com/backend-config", ""))
        backend = named(docs, "BackendConfig").get(wanted and wanted[1])
        if not backend:
            return say("reference: Service/fini-bridge names a BackendConfig that is not there")
        patience, probe = backend["spec"].get("timeoutSec", 30), backend["spec"].get("healthCheck", {}).get("requestPath")
        if backend["spec"].get("healthCheck", {}).get("port") != 8080:
            say("probe: the load balancer does not ask the port that is served")
    elif kind == "azure-application-gateway":
        patience, probe = int(notes.get(AZURE + "request-timeout", 30)), notes.get(AZURE + "health-probe-path")
    elif kind == "openshift-default":
        patience = int(notes.get(ROUTER + "timeout", "30s").removesuffix("s"))
    else:
        say(f"streams: nobody knows what event streams need behind {kind}")
    if patience is not None and patience < 120:
        say("streams: Ingress ends event streams and long waits too early")
    if probe not in facts.routes:
        say(f"probe: the load balancer asks for a route that does not exist: {probe}")


def security(spec, given_ids, say):
    """`given_ids`: the cluster gives the pod its user, as OpenShift does, and refuses any other."""
    pod = spec.get("securityContext", {})
    ids = {pod.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")}
    if not pod.get("runAsNonRoot") or ids != ({None} if given_ids else {65532}):
        say("security: the pod does not run as " + ("whoever its project says" if given_ids else "65532"))
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        say("security: no seccomp profile")
    if spec.get("automountServiceAccountToken") is not False:
        say("security: a token of the Kubernetes API is mounted")
    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(forbidden):
            say(f"security: {forbidden}")
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            say("security: privileges can be gained")
        if own.get("readOnlyRootFilesystem") is not True:
            say("security: the root file system can be written")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
            say("security: capabilities are kept")
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            say("resources: requests of cpu and memory and a limit of memory are wanted")
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            say("security: a path of the node is mounted")


def configuration(docs, spec, facts, say):
    """Checks and returns the configuration file the container is started with."""
    container = spec["containers"][0]
    for variable in container.get("env", []):
        if variable["name"].startswith("FINI_BRIDGE__"):
            key = ".".join(variable["name"].lower().split("__")[1:])
            if not known(key, facts):
                say(f"configuration: {variable['name']} sets a key that does not exist")
            if key.endswith("_file") and not mounted(variable["value"], spec):
                say(f"configuration: {variable['value']} is under no mount")
    args = container.get("args", [])
    path = args[args.index("--config") + 1] if "--config" in args else None
    mount = path and mounted(path, spec)
    if not mount or "configMap" not in mount:
        say(f"configuration: the file the program is started with is not mounted: {path}")
        return None
    data = named(docs, "ConfigMap").get(mount["configMap"]["name"], {}).get("data", {})
    text = data.get(path.rsplit("/", 1)[1])
    if text is None:
        say(f"configuration: the ConfigMap holds no {path.rsplit('/', 1)[1]}")
        return None
    config = tomllib.loads(text)
    for section, body in config.items():
        for table in body if isinstance(body, list) else [body]:
            for key, value in table.items():
                if not known(f"{section}.{key}", facts):
                    say(f"configuration: a key that does not exist: {section}.{key}")
                if key.endswith("_file") and not (mounted(value, spec) or {}).get("secret"):
                    say(f"configuration: {section}.{key} is not under a mounted Secret")
                if re.search(r"(token|secret|key)s?$", key) and value:
                    say(f"secret: {section}.{key} stands in the ConfigMap")
    return config


def known(key, facts):
    base = key.removesuffix("_file")
    return key in facts.keys or (key != base and base in facts.keys and f"{base}_file" in facts.keys)


def mounted(path, spec):
    """The volume a path lies under, if any."""
    for container in spec["containers"]:
        for mount in container.get("volumeMounts", []):
            if path.startswith(mount["mountPath"] + "/"):
                return next((volume for volume in spec["volumes"] if volume["name"] == mount["name"]), None)
    return None


def listening(config, spec, say):
    open_ports = {port["name"]: port["containerPort"] for port in spec["containers"][0].get("ports", [])}
    for section, name in (("server", "http"), ("admin", "admin")):
        address, _, port = config[section]["listen"].rpartition(":")
        if int(port) != open_ports.get(name):
            say(f"port: {section}.listen is {port}, the container's port {name} is {open_ports.get(name)}")
        if address not in ("0.0.0.0", "[::]"):
            say(f"port: {section}.listen is {address}, where no other pod can reach it")
    if not config["admin"].get("token_file"):
        say("secret: the admin listener is open to the cluster without a token")


# What the end itself may take: dropped tasks, the last log lines, closing the database.
END = 10


def endings(config, spec, say):
    pause = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pause < 5:
        say("grace: without a pause before SIGTERM proxies still send requests to a pod that is going")
    grace = seconds(config["server"].get("shutdown_grace", "25s"))
    total = spec.get("terminationGracePeriodSeconds", 30)
    if total < pause + grace + END:
        say(f"grace: {total} s are granted, and {pause} + {grace:g} + {END} may be needed")


def probes(spec, facts, say):
    container = spec["containers"][0]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(kind)
        if not probe:
            say(f"probe: no {kind}")
            continue
        path, _, query = probe["httpGet"]["path"].partition("?")
        if path not in facts.routes:
            say(f"probe: {kind} asks for a route that does not exist: {path}")
        if probe["httpGet"]["port"] != "admin":
            say(f"probe: {kind} does not ask the admin port")
        if (kind == "readinessProbe") != (path == "/readyz"):
            say(f"probe: {kind} must not ask {path}")
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            if name != "exclude" or value not in facts.checks:
                say(f"probe: {kind} excludes a check that does not exist: {part}")
            if value in ("store", "stopping", "loops"):
                say(f"probe: {kind} must not leave out {value}")
    startup = container.get("startupProbe", {})
    if startup and startup["periodSeconds"] * startup["failureThreshold"] < 120:
        say("probe: a start may take 120 s, as long as the store may take to be prepared")


def images(spec, facts, say):
    for container in spec["containers"]:
        name, _, digest = container["image"].partition("@")
        tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else ""
        if not digest and (not tag or tag == "latest"):
            say(f"image: {container['image']} is not pinned")
        if not digest and tag != facts.version:
            say(f"image: {container['image']} is not this version, {facts.version}")


def scale(docs, workload, spec, say):
    env = {variable["name"]: variable.get("value", "") for variable in spec["containers"][0].get("env", [])}
    scalers, budgets = named(docs, "HorizontalPodAutoscaler"), named(docs, "PodDisruptionBudget")
    url = env.get("FINI_BRIDGE__STORE__URL", "")
    if url.startswith("sqlite:"):
        if workload["spec"].get("replicas") != 1 or scalers:
            say("scale: the embedded database belongs to one replica")
        if workload["kind"] == "Deployment" and workload["spec"].get("strategy", {}).get("type") != "Recreate":
            say("scale: a second pod would open the database while the first still has it")
        if not (mounted(url.removeprefix("sqlite://"), spec) or {}).get("persistentVolumeClaim"):
            say("scale: the database does not lie on a volume")
    elif "FINI_BRIDGE__STORE__URL_FILE" in env:
        if not scalers or min(s["spec"]["minReplicas"] for s in scalers.values()) < 2:
            say("scale: fewer than two replicas")
        if scalers and "replicas" in workload["spec"]:
            say("scale: the number of replicas has two owners")
        if not budgets:
            say("scale: no disruption budget")
        if workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            say("scale: an update takes a replica away before the next is there")
        for scaler in scalers.values():
            if scaler["spec"]["maxReplicas"] * 17 > 97:
                say("scale: more connections than PostgreSQL's default allows (100, three of them reserved)")
    else:
        say("scale: no store is named")


def egress(docs, spec, say):
    env = {variable["name"] for variable in spec["containers"][0].get("env", [])}
    for name, policy in named(docs, "NetworkPolicy").items():
        rules = policy["spec"].get("egress", [])
        reach = {(port.get("protocol", "TCP"), port["port"]) for rule in rules for port in rule.get("ports", [])}
        wanted = {("UDP", 53), ("TCP", 53), ("TCP", 443)}
        wanted |= {("TCP", 5432)} if "FINI_BRIDGE__STORE__URL_FILE" in env else set()
        for missing in sorted(wanted - reach):
            say(f"egress: NetworkPolicy/{name} does not let out {missing[0]} {missing[1]}")
        names = [peer for rule in rules if any(port["port"] in (53, 5353) for port in rule.get("ports", [])) for peer in rule.get("to", [])]
        # The address of NodeLocal DNSCache on its node, which is no pod and has no label.
        if not any(peer.get("ipBlock", {}).get("cidr") == "169.254.20.10/32" for peer in names):
            say(f"egress: NetworkPolicy/{name} does not let out to the names' cache of a node")
        for rule in rules:
            if not rule.get("to") or not rule.get("ports"):
                say(f"egress: NetworkPolicy/{name} lets out everything")
            for peer in rule.get("to", []):
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0" and "169.254.0.0/16" not in block.get("except", []):
                    say(f"egress: NetworkPolicy/{name} lets out to the cloud's metadata service")


# What secrets look like: ours, Fini's, passwords in addresses, private keys.
SECRET = re.compile(r"whs(ec|k)_[A-Za-z0-9+/]{8,}|\bfini_[A-Za-z0-9]{12,}|://[^/\s:@]+:[^/\s@]+@|BEGIN [A-Z ]*PRIVATE KEY")


def secrets(docs, say):
    for doc in docs:
        if doc["kind"] == "Secret":
            say(f"secret: Secret/{doc['metadata']['name']} stands in the repository")
        if SECRET.search(str(doc)):
            say(f"secret: {doc['kind']}/{doc['metadata']['name']} contains what looks like one")


def namespaces(docs, say):
    spaces = {doc["metadata"].get("namespace") for doc in docs if doc["kind"] not in CLUSTER_WIDE}
    if len(spaces) != 1 or None in spaces:
        say(f"namespace: objects are spread over {sorted(map(str, spaces))}")
    for space in spaces - {None}:
        if space not in named(docs, "Namespace"):
            say(f"namespace: {space} is not made")
    for doc in named(docs, "Namespace").values():
        if doc["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            say("namespace: restricted pods are not enforced")
