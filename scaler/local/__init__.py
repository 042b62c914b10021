"""Scales the processes of an app on one machine, as KEDA and the HPA scale pods.

- `autoscaler`: measures an app's triggers, and makes the number of processes follow
- `scaling_behavior`: from a target to a number of instances, with cooldown and stabilization window
- `child_output`: what the processes write, with the name of the instance
- `processes`: starts, drains and restarts the processes
- `heartbeat`: notices when a process hangs

It may import `scaler.evaluation` and the layers below it.
"""
