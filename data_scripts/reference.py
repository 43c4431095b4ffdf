"""What the scripts of reference runs share: what is recorded already, targets of MNIST, several processes."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from minegan_lite import FewShot, UserError, few_shot
from minegan_lite.chapters import ledger


def recorded(name: str) -> dict | None:
    """The numbers of a result that the ledger has, None where it has none of that name."""
    return ledger.read(name)["numbers"] if ledger.find(name) else None


def mnist_target(what: int | dict[int, float], images: int, seed: int) -> FewShot:
    """few_shot of a digit, or of a mix of digits, from MNIST."""
    return few_shot("mnist", **{"mix" if isinstance(what, dict) else "digit": what}, n=images, seed=seed)


def run_all(reference: Callable[..., str], arguments: Iterable[tuple], jobs: int) -> None:
    """Calls reference with each of arguments, in `jobs` processes, printing what it returns, or one line of why not."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(reference, *one) for one in arguments]
        try:
            for run in runs:
                print(run.result(), flush=True)
        except UserError as error:
            pool.shutdown(cancel_futures=True)
            raise SystemExit(str(error)) from None
