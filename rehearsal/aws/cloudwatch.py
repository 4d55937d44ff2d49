"""CloudWatch, as far as an incident needs it: alarms whose state can be set, and the last value of a metric."""

from __future__ import annotations

from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import AwsError, Handler
from rehearsal.aws.sts import ACCOUNT

STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


class CloudWatch:
    """The alarms and metrics of one region; other regions have none."""

    def __init__(self, *, clock: Clock, region: str = "us-west-2", instance: str = "shielda-prod") -> None:
        self.clock = clock
        self.region = region
        self.alarms: dict[str, dict[str, Any]] = {}
        self.metrics: dict[tuple[str, str], float] = {}
        self.add_alarm("shielda-rds-cpu-high", namespace="AWS/RDS", metric="CPUUtilization", instance=instance)
        self.set_metric("AWS/RDS", "CPUUtilization", 12.0)

    def add_alarm(self, name: str, *, namespace: str, metric: str, instance: str, threshold: float = 90.0) -> None:
        """Add an alarm in the state OK."""
        self.alarms[name] = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{self.region}:{ACCOUNT}:alarm:{name}",
            "ActionsEnabled": True,
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": instance}],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 5,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        self.set_state(name, "OK", "Threshold was not crossed.")

    def set_state(self, name: str, state: str, reason: str) -> None:
        """Set an alarm to OK, ALARM or INSUFFICIENT_DATA, with the reason that CloudWatch shows."""
        if state not in STATES:
            raise ValueError(f"An alarm's state is one of {', '.join(STATES)}, not {state}.")
        alarm = self.alarms[name]
        now = self.clock.now()
        if alarm.get("StateValue") != state:
            alarm["StateTransitionedTimestamp"] = now
        alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=now)

    def set_metric(self, namespace: str, name: str, value: float) -> None:
        """Set the value that GetMetricData returns from now on."""
        self.metrics[namespace, name] = value

    def handlers(self) -> dict[str, Handler]:
        """For `Front.add("cloudwatch", ...)`."""
        return {"DescribeAlarms": self._describe_alarms, "GetMetricData": self._get_metric_data}

    def _describe_alarms(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        if "AlarmNames" in params and "AlarmNamePrefix" in params:
            raise AwsError("ValidationError", "AlarmNames and AlarmNamePrefix cannot be used together.")
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix", "")
        found = [
            alarm
            for name, alarm in self.alarms.items()
            if region == self.region
            and (not names or name in names)
            and name.startswith(prefix)
            and params.get("StateValue") in (None, alarm["StateValue"])
        ]
        return {"MetricAlarms": found, "CompositeAlarms": []}

    def _get_metric_data(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        if params["StartTime"] >= params["EndTime"]:
            raise AwsError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
        return {"MetricDataResults": [self._series(region, query) for query in params["MetricDataQueries"]]}

    def _series(self, region: str, query: dict[str, Any]) -> dict[str, Any]:
        metric = query.get("MetricStat", {}).get("Metric", {})
        name = metric.get("MetricName", "")
        value = self.metrics.get((metric.get("Namespace", ""), name)) if region == self.region else None
        known = value is not None
        return {
            "Id": query["Id"],
            "Label": query.get("Label", name),
            "StatusCode": "Complete",
            "Timestamps": [self.clock.now().replace(second=0, microsecond=0)] if known else [],
            "Values": [value] if known else [],
        }
