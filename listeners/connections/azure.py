"""The domains in which Azure has Redis, where TLS is the default. No I/O."""

__all__ = ["PLAIN_PORT", "azure_tls_port", "is_azure"]

#: The only port on which Azure serves plain text, where that has been enabled.
PLAIN_PORT = 6379

#: The port with TLS, by domain: Azure Cache for Redis, its Enterprise tiers, and Azure Managed Redis.
_TLS_PORTS = {
    ".redis.cache.windows.net": 6380,
    ".redis.cache.chinacloudapi.cn": 6380,
    ".redis.cache.usgovcloudapi.net": 6380,
    ".redisenterprise.cache.azure.net": 10000,
    ".redisenterprise.cache.chinacloudapi.cn": 10000,
    ".redisenterprise.cache.usgovcloudapi.net": 10000,
    ".redis.azure.net": 10000,
    ".redis.chinacloudapi.cn": 10000,
    ".redis.usgovcloudapi.net": 10000,
}


def is_azure(host: str) -> bool:
    """Return whether a host is a Redis on Azure, by its name."""
    return azure_tls_port(host) is not None


def azure_tls_port(host: str) -> int | None:
    """Return the port on which a Redis on Azure serves TLS; None if the host is not one."""
    name = host.lower().removesuffix(".")
    return next((port for domain, port in _TLS_PORTS.items() if name.endswith(domain)), None)
