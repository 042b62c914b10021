"""The dashboard's PromQL queries.

They use no recording rules, so the dashboard works without them. Several scalers may report a trigger, and a scaler
that KEDA no longer polls keeps its last values for ten minutes. So only values whose sample is younger than two minutes
count, and the queries use the highest of them. A trigger declared in the scaler's settings has no namespace. It is
shown only while no ScaledObject reports the same trigger. An unknown value has no series and leaves a gap.
"""

__all__ = ["ALL", "FUNCTION", "LABELS", "ONE", "deployment", "hpa", "known", "quantiles", "sample_age", "trigger"]

#: Label matchers for all triggers, and for the selected trigger.
ALL = 'namespace=~"$namespace",scaledobject=~"$scaledobject"'
ONE = f'{ALL},trigger="$trigger"'
#: Label matchers for the hosts that run the selected trigger's function.
FUNCTION = 'namespace=~"$namespace",function="$function"'

LABELS = "namespace, scaledobject, trigger, function, kind"
AGE = "triggerfish_trigger_sample_age_seconds"
FRESH = (
    f'({AGE}{{namespace!=""}} < 120'
    f' or {AGE}{{namespace=""}} < 120 unless on (trigger, function) {AGE}{{namespace!=""}} < 120)'
)


def trigger(name: str, matching: str, by: str = LABELS) -> str:
    """Return a query for the highest fresh value of triggerfish_trigger_{name} over all scalers."""
    return f"max by ({by}) (triggerfish_trigger_{name}{{{matching}}} and {FRESH})"


def known(matching: str) -> str:
    """Return a query that gives 1 for each trigger whose backlog is known to a scaler, and 0 for others."""
    return f"max by ({LABELS}) ({_without_duplicates('triggerfish_trigger_known', matching)})"


def sample_age(matching: str) -> str:
    """Return a query for the age of each trigger's newest sample."""
    return f"min by ({LABELS}) ({_without_duplicates(AGE, matching)})"


def _without_duplicates(series: str, matching: str) -> str:
    polled = f'{series}{{{matching},namespace!=""}}'
    return f'{polled} or {series}{{{matching},namespace=""}} unless on (trigger, function) {series}{{namespace!=""}}'


def hpa(name: str, matching: str) -> str:
    """Return a query for kube_horizontalpodautoscaler_{name} for the HPAs that KEDA creates for ScaledObjects."""
    series = f'kube_horizontalpodautoscaler_{name}{{namespace=~"$namespace",horizontalpodautoscaler=~"keda-hpa-.+"}}'
    named = f'label_replace({series}, "scaledobject", "$1", "horizontalpodautoscaler", "keda-hpa-(.+)")'
    return f"max by (namespace, scaledobject) ({named}) and on (namespace, scaledobject) {_scaled_objects(matching)}"


def deployment(name: str, matching: str) -> str:
    """Return a query for kube_deployment_{name} for the Deployments that those HPAs scale."""
    info = 'kube_horizontalpodautoscaler_info{namespace=~"$namespace",scaletargetref_kind="Deployment"}'
    scaled = f'label_replace({info}, "deployment", "$1", "scaletargetref_name", "(.+)")'
    named = f'label_replace({scaled}, "scaledobject", "$1", "horizontalpodautoscaler", "keda-hpa-(.+)")'
    replicas = f'kube_deployment_{name}{{namespace=~"$namespace"}}'
    joined = f"{replicas} * on (namespace, deployment) group_left (scaledobject) {named}"
    return f"max by (namespace, scaledobject) ({joined}) and on (namespace, scaledobject) {_scaled_objects(matching)}"


def quantiles(histogram: str, matching: str) -> dict[str, str]:
    """Return queries for p50, p90 and p99 of a histogram over all instances, by legend."""
    rates = f"sum by (le) (rate({histogram}_bucket{{{matching}}}[$__rate_interval]))"
    return {f"p{round(100 * share)}": f"histogram_quantile({share}, {rates})" for share in (0.5, 0.9, 0.99)}


def _scaled_objects(matching: str) -> str:
    return f"max by (namespace, scaledobject) (triggerfish_trigger_known{{{matching}}})"
