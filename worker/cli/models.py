"""``caravan models``: which models the fleet has, and what is done with them on all of its hosts, or on some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

# What reads the database or speaks HTTP is imported within the commands: ``caravan --help`` needs none of it.
from worker.cli.groups import option, with_groups
from worker.cli.json_output import AsJson, Newest
from worker.cli.model_options import Carrying
from worker.domain.model_operations import ModelVerb
from worker.errors import SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.domain.model_operations import ModelOperation


Model = Annotated[str, typer.Argument(metavar="MODEL", help="Its name, with a tag or without.")]
Models = Annotated[list[str], typer.Argument(metavar="MODEL", help="Names, with a tag or without.")]
Insecure = Annotated[bool, option("--insecure", "Allow HTTP without TLS between the host and the registry.")]
OnHosts = Annotated[
    list[str] | None,
    option("--host", "Only this host; repeat for more. Default: all that were added.", metavar="NAME"),
]
models = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List, pull, load, copy and remove models on all hosts.",
    invoke_without_command=True,
)


@models.callback()
def models_(ctx: typer.Context, json_: AsJson = False) -> None:
    """List, pull, load, copy and remove models on all hosts. Alone it lists them.

    Example: caravan models list
    """
    if ctx.invoked_subcommand is None:
        from worker.cli.model_lists import print_models

        print_models(None, None, json_=json_)


# -- looking ----------------------------------------------------------------------------------------------


@models.command("list")
def models_list(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Model to list. Default: all.")] = None,
    host: OnHosts = None,
    json_: AsJson = False,
) -> None:
    """List the models of the fleet, and where each of them is.

    Size, digest, quantization, context length and capabilities are those that each host reported last. A name that
    stands for different weights or settings on different hosts is marked; the digest identifies a model.

    Example: caravan models list --json
    """
    from worker.cli.model_lists import print_models

    print_models(model, host, json_=json_)


@models.command("show")
def models_show(model: Model, host: OnHosts = None, json_: AsJson = False) -> None:
    """Show the details of a model.

    Parameters, template, system message and license, and the digest on each host.

    Example: caravan models show qwen3:8b
    """
    from worker.cli.model_lists import print_model

    print_model(model, host, json_=json_)


# -- changing ---------------------------------------------------------------------------------------------


@models.command("pull")
@with_groups
def models_pull(carrying: Carrying, model: Models, insecure: Insecure = False) -> None:
    """Pull models onto all hosts, or some.

    A pull that was broken off goes on from what came. Jobs that were held because no host had the model
    go on by themselves. Exit codes: 0 done everywhere, 3 not on every host, 4 where hosts stay away for --wait-hosts
    seconds.

    Example: caravan models pull qwen3:8b --host gpu-1 --host gpu-2
    """
    _carry_out(ModelVerb.PULL, model, carrying, {"insecure": insecure})


@models.command("rm")
@with_groups
def models_rm(
    carrying: Carrying,
    model: Models,
    force: Annotated[bool, option("--force", "Remove the model although jobs need it.")] = False,
) -> None:
    """Remove models from hosts, never while a job uses them.

    While jobs need a model it is refused, with the number of these jobs. With --force no new ones begin, the model is
    removed when the running ones have ended, and jobs that no other host can do are held until it is pulled again.

    Example: caravan models rm llama3.2:1b --host gpu-1
    """
    _carry_out(ModelVerb.REMOVE, model, carrying, {"force": force}, have=True)


@models.command("cp")
@with_groups
def models_cp(
    carrying: Carrying,
    source: Annotated[str, typer.Argument(metavar="MODEL", help="Model to copy.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Second name of the model.")],
) -> None:
    """Give a model a second name on its hosts.

    Example: caravan models cp qwen3:8b registry.example/team/qwen3:8b
    """
    _carry_out(ModelVerb.COPY, [new], carrying, {"source": source}, have=True)


@models.command("create")
@with_groups
def models_create(
    carrying: Carrying,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the new model.")],
    source: Annotated[str | None, option("--from", "Model to create it from.", metavar="MODEL")] = None,
    file: Annotated[
        Path | None,
        option(
            "-f --file",
            "File with a JSON object: from, system, template, parameters and others.",
            metavar="FILE",
        ),
    ] = None,
    system: Annotated[str | None, option("--system", "System message of the model.")] = None,
    template: Annotated[str | None, option("--template", "Template of the model.")] = None,
    param: Annotated[
        list[str] | None,
        option("--param", "A parameter, such as num_ctx=8192; repeat for more.", metavar="NAME=VALUE"),
    ] = None,
    quantize: Annotated[
        str | None, option("--quantize", "F32, F16, Q4_K_S, Q4_K_M or Q8_0.", metavar="TYPE")
    ] = None,
) -> None:
    """Create a model from another one that the hosts have.

    It has a system message, a template or parameters of its own. Parameters that a host would silently ignore are
    refused. The model in --from must be on the hosts: a host would pull a missing one by itself.

    Example: caravan models create brief:8b --from qwen3:8b --system 'Be brief.' --param num_ctx=8192
    """
    from worker.hosts.recipes import checked_recipe, parameter, read_recipe

    recipe = {} if file is None else read_recipe(file)
    options = {"from": source, "system": system, "template": template, "quantize": quantize}
    recipe |= {name: value for name, value in options.items() if value is not None}
    if param:
        recipe["parameters"] = {**(recipe.get("parameters") or {}), **dict(map(parameter, param))}
    recipe = checked_recipe(recipe)
    _carry_out(ModelVerb.CREATE, [new], carrying, {"source": recipe["from"], "recipe": recipe}, have=True)


@models.command("push")
@with_groups
def models_push(carrying: Carrying, model: Model, insecure: Insecure = False) -> None:
    """Push a model to the registry in its name.

    It goes from the first host that has it, or from the one that is named.

    Example: caravan models push registry.example/team/qwen3:8b --host gpu-1
    """
    if "/" not in model:
        raise SettingsRefused(
            f"{model!r} names neither a registry nor an account; first caravan models cp {model} "
            "ACCOUNT/{model}"
        )
    _carry_out(ModelVerb.PUSH, [model], carrying, {"insecure": insecure}, have=True, first=True)


@models.command("load")
@with_groups
def models_load(
    carrying: Carrying,
    model: Model,
    num_ctx: Annotated[
        int | None,
        option(
            "--num-ctx",
            "Context window in tokens; default: what waiting jobs need, else the host's own.",
            min=1,
        ),
    ] = None,
    force: Annotated[
        bool, option("--force", "Load the model although it is larger than the memory of the host.")
    ] = False,
) -> None:
    """Load a model as soon as no job runs on its hosts.

    Example: caravan models load qwen3:8b --num-ctx 8192
    """
    _carry_out(ModelVerb.LOAD, [model], carrying, {"num_ctx": num_ctx, "force": force}, have=True)


@models.command("stop")
@with_groups
def models_stop(carrying: Carrying, model: Models) -> None:
    """Unload models as soon as no job of them runs.

    Example: caravan models stop qwen3:8b
    """
    _carry_out(ModelVerb.STOP, model, carrying, {}, have=True)


def _carry_out(
    verb: ModelVerb,
    names: "Sequence[str]",
    carrying: Carrying,
    arguments: dict[str, Any],
    *,
    have: bool = False,
    first: bool = False,
) -> None:
    """Begin the operation, and have it done or look on. ``have``: on hosts that have the model, of these the ``first``."""
    from worker.cli.model_work import Wish, carry_out
    from worker.hosts.models import model_name, spellings

    values = dict(arguments)
    if verb is ModelVerb.PULL:
        values["spellings"] = spellings(names) or None
    if values.get("source") is not None:
        values["source"] = model_name(values["source"])
    wish = Wish(
        verb=verb,
        models=list(dict.fromkeys(map(model_name, names))),
        arguments=values | {"now": carrying.now},
        places=carrying.host,
        have=have,
        first=first,
    )
    raise typer.Exit(carry_out(wish, carrying))


# -- operations -------------------------------------------------------------------------------------------


@models.command("operations")
def models_operations(
    operation: Annotated[
        int | None, typer.Argument(metavar="OPERATION", help="Number of one operation. Default: all.")
    ] = None,
    limit: Newest = None,
    json_: AsJson = False,
) -> None:
    """List the operations on models, the newest first.

    Each says how far every host has come, and what it waits for.

    Example: caravan models operations
    """
    from worker.cli.model_lists import print_operations

    print_operations(operation, limit, json_=json_)


@models.command("cancel")
def models_cancel(
    operation: Annotated[int, typer.Argument(metavar="OPERATION", help="As in caravan models operations.")],
) -> None:
    """Cancel the rest of an operation.

    What a host has pulled so far stays there.

    Example: caravan models cancel 12
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.model_operations import cancel_models

    with opened(settings_for()) as database:
        now = database.clock().now()
        cancelled = database.transact(lambda conn: cancel_models(conn, operation, now=now))
    typer.echo(f"operation {operation}: {_ended(cancelled)}")


def _ended(operation: "ModelOperation") -> str:
    from collections import Counter

    states = Counter(str(part.state) for part in operation.parts)
    return ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
