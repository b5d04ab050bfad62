"""The kubelet: runs the pods bound to this node and reports on them.

`role.py` owns one `worker.py` task a pod; `noderecord.py` and `pressure.py` look after the node. Decisions are pure
(`admission.py` whether a pod may run here, `plan.py` what to do next, `spec.py`, `env.py` and `payload.py` what a
container is made of, `resize.py` what changes while it runs, `status.py` what is reported); effects go to the runtime,
the pod network and the API. `node_api.py` serves logs, exec, attach, port-forward and stats.
May import `edgekube.client`, `edgekube.runtime.api`, `edgekube.network.api` and `edgekube.types`; no other role.
"""
