"""The dashboard's queries.

They need no recording rules, so that the dashboard is of use without them. Several scalers may know a trigger, and one
that is asked no more keeps its last values for ten minutes: values count while their sample is younger than two
minutes, and the highest is taken. A trigger that the settings declare has no namespace; it is shown while nobody asks
about the same trigger for a ScaledObject. What is not known has no value, and leaves a gap.
"""

__all__ = ["ALL", "FUNCTION", "LABELS", "ONE", "deployment", "hpa", "known", "quantiles", "sample_age", "trigger"]

#: Which series the panels for all triggers show, and those for one.
ALL = 'namespace=~"$namespace",scaledobject=~"$scaledobject"'
ONE = f'{ALL},trigger="$trigger"'
#: The series of the hosts that run the one trigger's function.
FUNCTION = 'namespace=~"$namespace",function="$function"'

LABELS = "namespace, scaledobject, trigger, function, kind"
AGE = "triggerfish_trigger_sample_age_seconds"
FRESH = (
    f'({AGE}{{namespace!=""}} < 120'
    f' or {AGE}{{namespace=""}} < 120 unless on (trigger, function) {AGE}{{namespace!=""}} < 120)'
)


def trigger(name: str, matching: str, by: str = LABELS) -> str:
    """The value of triggerfish_trigger_{name}, of the scaler that knows it best."""
    return f"max by ({by}) (triggerfish_trigger_{name}{{{matching}}} and {FRESH})"


def known(matching: str) -> str:
    """1 for triggers that some scaler knows the backlog of, 0 for others."""
    return f"max by ({LABELS}) ({_once('triggerfish_trigger_known', matching)})"


def sample_age(matching: str) -> str:
    """How old the youngest sample of a trigger is."""
    return f"min by ({LABELS}) ({_once(AGE, matching)})"


def _once(series: str, matching: str) -> str:
    asked = f'{series}{{{matching},namespace!=""}}'
    return f'{asked} or {series}{{{matching},namespace=""}} unless on (trigger, function) {series}{{namespace!=""}}'


def hpa(name: str, matching: str) -> str:
    """The value of kube_horizontalpodautoscaler_{name}, of the HPAs that KEDA makes for ScaledObjects."""
    series = f'kube_horizontalpodautoscaler_{name}{{namespace=~"$namespace",horizontalpodautoscaler=~"keda-hpa-.+"}}'
    named = f'label_replace({series}, "scaledobject", "$1", "horizontalpodautoscaler", "keda-hpa-(.+)")'
    return f"max by (namespace, scaledobject) ({named}) and on (namespace, scaledobject) {_objects(matching)}"


def deployment(name: str, matching: str) -> str:
    """The value of kube_deployment_{name}, of the Deployments that those HPAs scale."""
    info = 'kube_horizontalpodautoscaler_info{namespace=~"$namespace",scaletargetref_kind="Deployment"}'
    scaled = f'label_replace({info}, "deployment", "$1", "scaletargetref_name", "(.+)")'
    named = f'label_replace({scaled}, "scaledobject", "$1", "horizontalpodautoscaler", "keda-hpa-(.+)")'
    replicas = f'kube_deployment_{name}{{namespace=~"$namespace"}}'
    joined = f"{replicas} * on (namespace, deployment) group_left (scaledobject) {named}"
    return f"max by (namespace, scaledobject) ({joined}) and on (namespace, scaledobject) {_objects(matching)}"


def quantiles(histogram: str, matching: str) -> dict[str, str]:
    """Half, nine tenths and nearly all of a histogram, of all instances together, by their names."""
    rates = f"sum by (le) (rate({histogram}_bucket{{{matching}}}[$__rate_interval]))"
    return {f"p{round(100 * share)}": f"histogram_quantile({share}, {rates})" for share in (0.5, 0.9, 0.99)}


def _objects(matching: str) -> str:
    return f"max by (namespace, scaledobject) (triggerfish_trigger_known{{{matching}}})"
