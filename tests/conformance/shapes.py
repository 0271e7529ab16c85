"""Which members an answer of ECS has, and which it leaves out.

Clients crash on the difference between an absent list and an empty one, so whole key sets are compared: ALWAYS is what
every such object carries, SOMETIMES what appears once it is known or was asked for. Anything else is a failure.
"""

CLUSTER = (
    "clusterArn clusterName status registeredContainerInstancesCount runningTasksCount pendingTasksCount "
    "activeServicesCount statistics tags settings capacityProviders defaultCapacityProviderStrategy",
    "configuration serviceConnectDefaults attachments attachmentsStatus",
)
TASK_DEFINITION = (
    "taskDefinitionArn containerDefinitions family revision volumes status placementConstraints compatibilities "
    "registeredAt registeredBy",
    "requiresAttributes networkMode taskRoleArn executionRoleArn cpu memory requiresCompatibilities pidMode ipcMode "
    "runtimePlatform ephemeralStorage proxyConfiguration deregisteredAt inferenceAccelerators",
)
TASK_PLACED = (
    "attachments attributes clusterArn containerInstanceArn containers cpu createdAt desiredStatus "
    "enableExecuteCommand group lastStatus launchType memory overrides tags taskArn taskDefinitionArn version",
    "availabilityZone startedBy connectivity connectivityAt healthStatus capacityProviderName",
)
TASK_RUNNING = (
    TASK_PLACED[0] + " connectivity connectivityAt healthStatus startedAt",
    "availabilityZone startedBy pullStartedAt pullStoppedAt",
)
TASK_STOPPED = (
    TASK_PLACED[0] + " stopCode stoppedReason stoppedAt stoppingAt",
    "availabilityZone startedBy connectivity connectivityAt healthStatus startedAt pullStartedAt pullStoppedAt "
    "executionStoppedAt",
)
CONTAINER_PLACED = (
    "containerArn taskArn name image lastStatus networkInterfaces cpu",
    "memory memoryReservation healthStatus managedAgents",
)
CONTAINER_RUNNING = (
    "containerArn taskArn name image lastStatus networkInterfaces cpu runtimeId networkBindings healthStatus",
    "memory memoryReservation imageDigest managedAgents",
)
SERVICE = (
    "serviceArn serviceName clusterArn loadBalancers serviceRegistries status desiredCount runningCount pendingCount "
    "launchType taskDefinition deploymentConfiguration deployments events createdAt createdBy placementConstraints "
    "placementStrategy schedulingStrategy enableECSManagedTags propagateTags enableExecuteCommand deploymentController "
    "availabilityZoneRebalancing",
    "tags roleArn networkConfiguration healthCheckGracePeriodSeconds platformFamily platformVersion "
    "currentServiceDeployment currentServiceRevisions",
)
DEPLOYMENT = (
    "id status taskDefinition desiredCount pendingCount runningCount failedTasks createdAt updatedAt launchType "
    "rolloutState rolloutStateReason",
    "networkConfiguration platformVersion",
)
INSTANCE = (
    "containerInstanceArn version remainingResources registeredResources status agentConnected runningTasksCount "
    "pendingTasksCount attributes registeredAt attachments tags versionInfo",
    "ec2InstanceId agentUpdateStatus capacityProviderName healthStatus",
)


def check(thing, shape):
    """The object has all the members of the shape that it must have, and none that it must not."""
    always, sometimes = (set(words.split()) for words in shape)
    assert always - set(thing) == set(), f"missing: {sorted(always - set(thing))}"
    assert set(thing) - always - sometimes == set(), f"unexpected: {sorted(set(thing) - always - sometimes)}"


def plain(answer):
    """An answer without what boto3 adds."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
