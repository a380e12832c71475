"""The signed-in connection to Kaggle: the kaggle client with time limits, retries and errors of one line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from heartseg.errors import InputError, flat
from heartseg.kaggle.client import AGENT, import_client, make_client, signed_in
from heartseg.kaggle.credentials import SETTINGS, Credentials, find_credentials, redact
from heartseg.kaggle.manifest import safe_name

ENVIRONMENT = "KAGGLE_API_ENVIRONMENT"
LOCAL, PRODUCTION = "LOCALHOST", "PROD"
PAGE = 100  # files on a page of a listing
MAX_PAGES = 1000
INVALID = ("dataset", "kernel", "competition", "model")
SLUG = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*")


class Pushed(NamedTuple):
    """The address of a kernel that was pushed, and its version."""

    url: str
    version: int


class Status(NamedTuple):
    """A run's status (QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED, CANCEL_ACKNOWLEDGED, NEW_SCRIPT) and, if it
    failed, the reason.
    """

    name: str
    message: str


class Service:
    """Kaggle, signed in, from `Service.connect`. Every error is an InputError without key, token or signed address.

    Attributes:
        username: the user who is signed in.
        endpoint: the address of the service.
    """

    def __init__(self, api: Any, credentials: Credentials) -> None:
        self._api = api
        self._credentials = credentials
        self.username = credentials.username
        with api.build_kaggle_client() as client:
            self.endpoint = str(client.http_client().get_non_api_endpoint())

    @classmethod
    def connect(cls) -> Service:
        """Sign in with the credentials that `heartseg.kaggle.credentials.find_credentials` finds.

        A token is checked at once, a key by the first call.

        Raises:
            InputError: no client, no credentials or half of them, or a token that Kaggle refuses.
        """
        named = os.environ.get(ENVIRONMENT) or PRODUCTION
        if named not in (LOCAL, PRODUCTION):
            raise InputError(f"{ENVIRONMENT}={named}: is not a service that heartseg works with; unset it")
        credentials = find_credentials(import_client()())
        api = make_client(credentials, named == LOCAL)
        if not credentials.key:
            credentials = signed_in(api, credentials)
            api = make_client(credentials, named == LOCAL)
        return cls(api, credentials)

    def push(self, folder: str | os.PathLike[str]) -> Pushed:
        """Push a kernel: a folder with ``kernel-metadata.json`` and the code file that it names.

        A push that may have arrived is not sent again, since each one starts a run.

        Raises:
            InputError: refused, or pushed without sources that Kaggle does not know.
        """
        remedies = {403: "check that the kernel is yours and that your account may use what it asks for"}
        with self._readable(f"push of {folder}", remedies):
            answer = self._api.once().kernels_push(str(folder))
        if answer.error:
            raise InputError(self.redacted(f"push of {folder}: Kaggle refuses it ({flat(ValueError(answer.error))})"))
        url, version = str(answer.url), int(answer.version_number)
        lost = {kind: getattr(answer, f"invalid_{kind}_sources", None) for kind in INVALID}
        faults = [f"{kind} sources {', '.join(names)}" for kind, names in lost.items() if names]
        faults += [f"tags {', '.join(answer.invalid_tags)}"] if answer.invalid_tags else []
        if faults:
            fault = f"version {version} was pushed without {' and '.join(faults)}, which Kaggle does not know"
            raise InputError(self.redacted(f"push of {folder}: {fault}; cancel it at {url}, fix them and push again"))
        if not url or not version:
            raise InputError(
                f"push of {folder}: Kaggle returned no version number; look at https://www.kaggle.com/code"
            )
        return Pushed(url, version)

    def status(self, kernel: str) -> Status:
        """Return the status of the last run of a kernel OWNER/NAME. InputError if it is missing or not allowed."""
        owner_and_name(kernel)
        with self._readable(kernel):
            answer = self._api.kernels_status(kernel)
            return Status(str(answer.status.name), self.redacted(" ".join((answer.failure_message or "").split())))

    def outputs(self, kernel: str) -> tuple[dict[str, str], str]:
        """Return the output files of a kernel's last run, of all pages, {name: signed address}, and its log.

        Raises:
            InputError: missing, not allowed, a name that leads out of the folder or occurs twice.
        """
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        owner, name = owner_and_name(kernel)
        files: dict[str, str] = {}
        log, token = "", ""
        for _ in range(MAX_PAGES):
            request = ApiListKernelSessionOutputRequest()
            request.user_name, request.kernel_slug = owner, name
            request.page_size, request.page_token = PAGE, token
            with self._readable(f"outputs of {kernel}"), self._api.build_kaggle_client() as client:
                answer = client.kernels.kernels_api_client.list_kernel_session_output(request)
            for file in answer.files or []:
                if safe_name(file.file_name) in files:
                    raise InputError(f"outputs of {kernel}: {file.file_name} occurs twice; nothing was downloaded")
                files[file.file_name] = file.url
            log, token = log or answer.log, answer.next_page_token
            if not token:
                return files, log
        raise InputError(f"outputs of {kernel}: the listing does not end after {MAX_PAGES} pages; run again later")

    def download(
        self,
        url: str,
        path: Path,
        limit: int | None = None,
        progress: Callable[[int, int | None], object] = lambda done, total: None,
    ) -> None:
        """Download one file of `outputs`, whole or not at all. No credentials are sent with the request.

        Args:
            url: its signed address.
            path: the file to write.
            limit: bytes that it may have.
            progress: called with the bytes so far, and the total if it is known.

        Raises:
            InputError: refused, larger than ``limit``, broke off, or an address without https.
        """
        import requests

        from heartseg.kaggle.transport import bound, receive

        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        remedies = dict.fromkeys((400, 401, 403, 404, 410), "its address may have expired: run again")
        with self._readable(path.name, remedies), bound(requests.Session(), self._api.adapter()) as session:
            receive(lambda: session.get(url, headers=headers, stream=True), path, limit, progress)

    def datasets(self, search: str) -> list[str]:
        """Return the data sets OWNER/SLUG that Kaggle finds for a search, in its order."""
        with self._readable(f"search for {search!r}"):
            return [str(found.ref) for found in self._api.dataset_list(search=search) or [] if found]

    def download_dataset(
        self, slug: str, path: Path, progress: Callable[[int, int | None], object] = lambda done, total: None
    ) -> None:
        """Download a data set OWNER/SLUG as a zip, whole or not at all; raises as `download` does."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        from heartseg.kaggle.transport import receive

        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = owner_and_name(slug, "a data set")
        with self._readable(slug), self._api.build_kaggle_client() as client:
            receive(lambda: client.datasets.dataset_api_client.download_dataset(request), path, None, progress)

    @contextmanager
    def _readable(self, what: str, remedies: dict[int, str] | None = None) -> Iterator[None]:
        from heartseg.kaggle.transport import readable_errors

        refused = {401: f"the credentials of {self._credentials.source} are refused; make new ones at {SETTINGS}"}
        with readable_errors(what, self._credentials.secrets, refused | (remedies or {})):
            yield

    def redacted(self, text: str) -> str:
        """Return the text without secrets and signed addresses."""
        return redact(text, self._credentials.secrets)


def owner_and_name(slug: str, what: str = "a kernel") -> tuple[str, str]:
    """Return the two parts of OWNER/NAME. InputError for anything else."""
    if not SLUG.fullmatch(slug):
        raise InputError(f"{slug}: is not {what}; write OWNER/NAME, as in its address on www.kaggle.com")
    owner, _, name = slug.partition("/")
    return owner, name
