"""The commands that train on Kaggle and pull results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartseg.cli.options import Bundle, Overlays, Settings
from heartseg.cli.outputs import FILE, FOLDER

# Import lazily so that --help is fast.
kaggle_app = typer.Typer(
    no_args_is_help=True,
    help="Train on a free Kaggle GPU and pull verified results. push, pull and sync need the kaggle client "
    "(pip install 'heartseg\\[kaggle]') and credentials of an account; docs/kaggle.md explains it step by step.",
)
Kernel = Annotated[str, typer.Argument(metavar="OWNER/KERNEL", help="A kernel, as in its address on kaggle.com.")]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="OWNER/SLUG", help="Attach this Kaggle data set; may be repeated."),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="Minutes after which training stops, to be evaluated and saved; default 660."),
]
Wheels = Annotated[
    str | None,
    typer.Option(metavar="OWNER/SLUG", help="Install missing packages from this data set of wheels, without internet."),
]
Internet = Annotated[bool | None, typer.Option("--internet/--no-internet", help="Give the kernel internet access.")]


@kaggle_app.command("push")
def push_kernel(
    bundle: Bundle,
    data: Data = None,
    gpu: Annotated[str | None, typer.Option(help="t4 (one or two), p100 or none.")] = None,
    overlay: Overlays = None,
    set_: Settings = None,
    minutes: Minutes = None,
    resume: Annotated[bool, typer.Option(help="Resume the kernel's last run.")] = False,
    wheels: Wheels = None,
    internet: Internet = None,
    public: Annotated[bool | None, typer.Option("--public/--private", help="Who can see the kernel.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would be sent, and send nothing. Needs no account.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --dry-run: write the files that would be sent to this folder.", **FOLDER)
    ] = None,
) -> None:
    """Train a bundle on Kaggle: send one script that contains heartseg and the bundle, and start it.

    The defaults are those of the checkout's kernel-metadata.json, if there is one.

    Example: heartseg kaggle push left_atrium --data alice/task02-heart --set epochs=300
    """
    from heartseg.config.bundles import find_bundle
    from heartseg.config.command_lines import say
    from heartseg.errors import InputError
    from heartseg.kaggle.push import describe, make_kernel, push, warn, write_kernel

    if out is not None and not dry_run:
        raise InputError("--out: is for --dry-run alone; add --dry-run, or omit --out")
    kernel = make_kernel(
        find_bundle(bundle),
        data or (),
        gpu,
        overlay or (),
        set_ or (),
        minutes,
        resume,
        wheels,
        internet,
        public,
    )
    if dry_run:
        warn(kernel)
        print("\n".join(describe(kernel, whole=True)))
        if out is not None:
            write_kernel(kernel, out)
            print(f"written: {out}")
        say("nothing was sent; OWNER stands for your account")
        return
    from heartseg.kaggle.service import Service

    service = Service.connect()
    kernel = kernel.of(service.username)
    warn(kernel)
    print("\n".join(describe(kernel)), flush=True)
    pushed = push(kernel, service)
    print(f"pushed: {pushed.url} (version {pushed.version})")
    print(f"next: heartseg kaggle pull {kernel.metadata['id']} --wait --out runs/kaggle")


@kaggle_app.command("script")
def write_script(
    bundle: Bundle,
    out: Annotated[Path, typer.Option(help="The file.", **FILE)] = Path("kernel.py"),
    data: Data = None,
    overlay: Overlays = None,
    set_: Settings = None,
    minutes: Minutes = None,
    internet: Internet = None,
) -> None:
    """Write the script that trains a bundle, to be pushed by `kaggle kernels push` with kernel-metadata.json.

    Example: heartseg kaggle script left_atrium && kaggle kernels push
    """
    import json

    from heartseg.config.bundles import find_bundle
    from heartseg.config.command_lines import say
    from heartseg.data.files import atomic
    from heartseg.kaggle.push import differing_fields, make_kernel, warn

    kernel = make_kernel(find_bundle(bundle), data or (), None, overlay or (), set_ or (), minutes, internet=internet)
    warn(kernel)
    with atomic(out) as temporary:
        temporary.write_bytes(kernel.script.text.encode("ascii"))
    print(f"script: {out} ({len(kernel.script.text):,} bytes, commit {kernel.script.commit})")
    for name in differing_fields(kernel):
        needed = json.dumps({name: kernel.metadata[name]})[1:-1]
        say(f"warning: kernel-metadata.json: the script needs {needed}; write it there")


@kaggle_app.command("pull")
def pull_kernel(
    kernel: Kernel,
    out: Annotated[Path, typer.Option(help="Folder of the run: a new one, or that of an earlier pull.", **FOLDER)],
    wait: Annotated[bool, typer.Option(help="Wait until the run is complete.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="How long to wait at most.")] = 780,
) -> None:
    """Pull the results of a kernel's last run: weights, curves, scores, each compared with its checksum.

    The folder can be used like that of a local run: heartseg evaluate BUNDLE --data DIR --run OUT. Another pull
    downloads only what differs.

    Example: heartseg kaggle pull alice/heartseg-left-atrium --wait --out runs/kaggle
    """
    from heartseg.kaggle.pull import pull
    from heartseg.kaggle.service import Service

    pull(Service.connect(), kernel, out, wait, minutes)


@kaggle_app.command("sync")
def sync_kernel(
    kernel: Kernel,
    results: Annotated[
        str, typer.Option(help="Folder of the working tree; the files go to RESULTS/KERNEL.")
    ] = "results",
    branch: Annotated[str | None, typer.Option(help="Branch of the pull request; default kaggle/KERNEL.")] = None,
    weights_out: Annotated[
        Path | None, typer.Option(help="Folder for the weights; without it they are not kept.", **FOLDER)
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the run is complete.")] = False,
) -> None:
    """Copy the small results of a kernel's last run into this working tree, for a pull request.

    .github/workflows/sync-kaggle.yml runs it and opens the pull request; git is not called.
    Nothing is done while the run is not complete, or if RESULTS/KERNEL has this run already.

    Example: heartseg kaggle sync alice/heartseg-left-atrium --weights-out weights
    """
    from heartseg.kaggle.service import Service
    from heartseg.kaggle.sync import check_target, sync

    check_target(kernel, results, branch)  # so that a wrong option is not blamed on the credentials
    sync(Service.connect(), kernel, results, branch, weights_out, wait)
