"""How the API server is reached: lightkube reads kubeconfigs and service accounts, and checks certificates."""

from pathlib import Path

import httpx
import yaml
from lightkube import ConfigError, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, User

from caravan.kernel.transport import Transport
from services.broker.adapters.kubernetes.settings import InCluster, Kubeconfig, Server, Settings
from services.broker.adapters.port import SiteContext, SiteRefused

CONNECT_SECONDS = 5.0
CONNECTIONS = 100
"""Of these the watches and what follows logs hold some."""


def connect(settings: Settings, context: SiteContext) -> httpx.AsyncClient:
    """Reads the site's secrets; nothing is sent. It goes by no proxy. Blocking. Raises SiteRefused."""
    try:
        config = _config(settings.api, context)
        if not config.cluster.server.startswith("https://"):
            raise SiteRefused("the kubeconfig's server isn't https")
        if config.cluster.insecure:
            raise SiteRefused("the kubeconfig has insecure-skip-tls-verify: give the server's certificate authority")
        timeout = httpx.Timeout(settings.timeout_seconds, connect=min(CONNECT_SECONDS, settings.timeout_seconds))
        assert config.user is not None, "one without a user isn't chosen"
        verify = client_adapter.verify_cluster(config.cluster, config.user, config.abs_file)
        client = httpx.AsyncClient(
            base_url=config.cluster.server,
            auth=client_adapter.user_auth(config.user),
            timeout=timeout,
            transport=Transport(CONNECTIONS, verify),
        )
    except OSError as error:
        raise SiteRefused(f"a secret of the site can't be used: {error.strerror or type(error).__name__}") from None
    except httpx.InvalidURL as error:
        raise SiteRefused(
            "the API server's address has no host that can be one, or a port that is no number"
        ) from error
    except (ConfigError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        # what they say may hold what they read
        raise SiteRefused(f"the site's credentials can't be read: {type(error).__name__}") from None
    return client


def _config(api: Kubeconfig | Server | InCluster, context: SiteContext) -> SingleConfig:
    if isinstance(api, InCluster):
        return _in_cluster(context)
    folder = context.secrets
    if folder is None:
        raise SiteRefused("the agent has no folder of secrets, where the site's credentials would come from")
    if isinstance(api, Kubeconfig):
        return _chosen(KubeConfig.from_file(_there(folder, api.file)))
    user = User(
        token_file=_path(folder, api.token),
        client_cert=_path(folder, api.certificate),
        client_key=_path(folder, api.key),
    )
    cluster = Cluster(server=api.server, certificate_auth=_path(folder, api.ca))
    return _chosen(KubeConfig.from_one(cluster=cluster, user=user))


def _in_cluster(context: SiteContext) -> SingleConfig:
    """As the agent's own service account: whoever runs the agent must have agreed to that, and not only who sets up the site."""
    if not context.jobs_on_this_machine:
        raise SiteRefused(
            "jobs would run in the cluster that the platform itself runs in, and its operator has not agreed: set "
            "CARAVAN_JOBS_ON_THIS_MACHINE=true for the broker to agree, or have the centre run `caravan agent` in its own cluster"
        )
    return _chosen(KubeConfig.from_service_account())


def _chosen(config: KubeConfig) -> SingleConfig:
    found = config.get()
    if found is None or found.user is None:
        raise SiteRefused("the kubeconfig's current context names no user")
    return found


def _path(folder: Path, name: str | None) -> str | None:
    return None if name is None else str(_there(folder, name))


def _there(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise SiteRefused(f"{name} isn't in the agent's folder of secrets")
    return folder / name
