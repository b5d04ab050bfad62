"""The kubelet: runs the pods bound to this node and reports on them.

`role.py` owns one `worker.py` task a pod. Decisions are pure (`plan.py` what to do next, `spec.py` and `env.py` what a
container is made of, `status.py` what is reported); effects go to the runtime, the pod network and the API.
May import `edgekube.client`, `edgekube.runtime.api`, `edgekube.network.api` and `edgekube.types`; no other role.
"""
