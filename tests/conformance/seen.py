"""What several suites look at."""


def tasks_of(ecs, cluster, service="web", **filters):
    """The tasks of a service as DescribeTasks shows them; those desired RUNNING unless filtered otherwise."""
    arns = ecs.list_tasks(cluster=cluster, serviceName=service, **filters)["taskArns"]
    return ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
