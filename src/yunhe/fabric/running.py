"""One query over the fabric while it runs: its parts in threads, its last step in an engine.

In: a checked plan. Out: the answer's Arrow IPC bytes, and one record of what each part delivered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from time import monotonic

import pyarrow as pa

from yunhe.dataplane import GroupTooSmall
from yunhe.fabric import noise, semijoin
from yunhe.fabric.engine import Engine, EngineFailed
from yunhe.fabric.errors import FabricLocalFailed, FabricPartFailed, FabricTooLarge
from yunhe.fabric.market import Market, Passing, read_schema
from yunhe.fabric.model import Answer, Json, Part, Plan, Progress
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.kernel.money import charge, yuan
from yunhe.kernel.outlet import Outlet

Ended = Callable[[Answer, str, tuple[Json, ...], str], None]


class Run:
    """Chunks of the answer; iterate to the end or `close`. One use a part, all or none told."""

    def __init__(
        self,
        plan: Plan,
        schemas: Mapping[str, bytes],
        market: Market,
        made: Answer,
        memory_mb: int,
        ended: Ended,
    ) -> None:
        self.plan, self.fabric_id = plan, made.id
        self._schemas, self._market, self._made = schemas, market, made
        self._memory_mb, self._ended = memory_mb, ended
        self._progress = {
            part.name: Progress(part.member.contract_id, f"{made.id}.{part.name}")
            for part in plan.parts
        }
        self._open: dict[str, Passing] = {}
        self._values: dict[str, list[str] | None] = {}  # by part the keys it is filtered by
        self._first: tuple[Part, Exception] | None = None  # what failed first
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # around the engine's pipe: it is closed at the end
        self._done = False
        self._engine: Engine | None = None
        self._held: bytes | None = None
        self._bytes = 0

    @property
    def groups_withheld(self) -> bool:
        """Whether a provider kept groups back; known once `start` has returned."""
        return any(each.groups_withheld for each in self._open.values()) or any(
            each.state == "withheld" for each in self._progress.values()
        )

    def told(self) -> tuple[Json, ...]:
        """Each part as it stands."""
        for name, passing in list(self._open.items()):
            progress = self._progress[name]
            if progress.state == "open":
                progress.rows, progress.bytes = passing.count.rows, passing.count.bytes
        return tuple(
            {
                "part": part.name,
                "kind": part.kind,
                **self._progress[part.name].to_json(),
                **part.estimates(),
            }
            for part in self.plan.parts
        )

    def start(self) -> None:
        """Run every part and wait for the first bytes of the answer."""
        try:
            self._gather()
            self._held = self._next_frame()
        except BaseException as error:
            self._finish("failed", error.code if isinstance(error, YunheError) else "FAULT")
            raise

    def _gather(self) -> None:
        parts = self.plan.parts
        self._engine = engine = Engine([part.name for part in parts], self._memory_mb)
        threads = {
            part.name: threading.Thread(
                target=self._bring, args=(part,), name=f"fabric-{part.name}"
            )
            for part in parts
        }
        for part in parts:
            if part.keys is None:
                threads[part.name].start()
        slots = {slot.name: slot.parts for slot in self.plan.slots}
        asked = list(dict.fromkeys((k.slot, k.column) for p in parts if (k := p.keys) is not None))
        engine.order(self.plan.final, slots, asked)
        try:
            for slot, column in asked:
                for name in slots[slot]:
                    threads[name].join()
                self._keyed(engine, (slot, column), threads)
            for thread in threads.values():
                thread.join()
        finally:
            for part in parts:
                engine.end(part.name)
        if self._first is not None:
            part, error = self._first
            if isinstance(error, EngineFailed):
                raise self._local(self._why(engine, error))
            if isinstance(error, FabricTooLarge):
                raise error
            why = error.code if isinstance(error, YunheError) else type(error).__name__
            told = self._charged()
            raise FabricPartFailed(
                contract_id=part.member.contract_id, why=why, fabric_id=self.fabric_id, **told
            ) from error
        if all(each.state == "withheld" for each in self._progress.values()):
            raise GroupTooSmall(minimum_group=max(p.member.terms.minimum_group for p in parts))
        try:
            told = engine.loaded()
        except EngineFailed as error:
            raise self._local(error) from error
        for name, text in told.items():
            self._progress[name].noise = noise.read(text)
        engine.answer(self._metadata())

    def _keyed(
        self, engine: Engine, source: tuple[str, str], threads: Mapping[str, threading.Thread]
    ) -> None:
        """Start the parts that are filtered by the keys of `source`, which have come."""
        try:
            found = engine.keys() if self._first is None else None
        except EngineFailed as error:
            found = None
            with self._lock:
                self._first = self._first or (self.plan.parts[0], error)
        for part in self.plan.parts:
            if part.keys is not None and (part.keys.slot, part.keys.column) == source:
                self._values[part.name] = found
                threads[part.name].start()

    def _why(self, engine: Engine, error: EngineFailed) -> EngineFailed:
        """Its last word, where the engine had one: a broken pipe alone does not tell why."""
        try:
            engine.loaded()
        except EngineFailed as said:
            return said
        return error

    def _bring(self, part: Part) -> None:
        """One part, from its provider into the engine's pipe."""
        progress = self._progress[part.name]
        engine = self._engine
        assert engine is not None  # noqa: S101 - made before the threads
        try:
            self._pass(part, progress, engine)
        except Exception as error:  # noqa: BLE001  kept, and told by the one who waits
            progress.state = "failed"
            progress.code = error.code if isinstance(error, YunheError) else "FAULT"
            with self._lock:
                first = self._first is None
                if first:
                    self._first = (part, error)
            if first:
                self._stop_others()
        finally:
            engine.end(part.name)

    def _pass(self, part: Part, progress: Progress, engine: Engine) -> None:
        if self._first is not None:
            progress.code = "NOT_ASKED"
            return
        made, sql, values = self._made, part.sql, self._values.get(part.name)
        if values == []:
            progress.state = "spared"  # no row can meet the others: it is not even asked
            engine.feed(part.name, _empty(self._schemas[part.name]))
            return
        if (narrow := semijoin.narrowed(part, values)) is not None and values is not None:
            sql, progress.keys = narrow, len(values)
        started = monotonic()
        try:
            passing = self._market.ask(
                part.member.contract_id, sql, made.purpose, progress.use_id, made.principal
            )
        except YunheError as refused:
            if refused.code != GroupTooSmall.code:
                raise
            # Each of its groups is below k: as if it had kept them back one by one. Not charged.
            progress.state, progress.code = "withheld", refused.code
            engine.feed(part.name, _empty(self._schemas[part.name]))
            return
        price = part.member.terms.price
        with self._lock:
            self._open[part.name] = passing
            progress.state, progress.charged = "open", True
            stopped = self._first is not None
        try:
            if not stopped:
                for chunk in passing:
                    self._count(len(chunk))
                    engine.feed(part.name, chunk)
        finally:
            passing.close()
            progress.seconds = monotonic() - started
            progress.rows, progress.bytes = passing.count.rows, passing.count.bytes
            progress.fen = charge(price.per_use, price.per_row, progress.rows)
        progress.state = "failed" if stopped else "done"

    def _count(self, size: int) -> None:
        with self._lock:
            self._bytes += size
            over = self._bytes > limits.FABRIC_BYTES_MAX
        if over:
            raise FabricTooLarge(what="bytes", limit=limits.FABRIC_BYTES_MAX)

    def _stop_others(self) -> None:
        with self._lock:
            passing = list(self._open.values())
        if self._engine is not None:
            self._engine.stop()  # wakes the threads that feed it
        for each in passing:
            each.close()

    def _local(self, error: EngineFailed) -> YunheError:
        if error.code == "MEMORY":
            return FabricTooLarge(what="memory", limit=f"{self._memory_mb} MB")
        return FabricLocalFailed(str(error), fabric_id=self.fabric_id, **self._charged())

    def _charged(self) -> dict[str, str]:
        """What has been charged, as a sentence in each language; never silent about money."""
        paid = [each for each in self._progress.values() if each.charged]
        if not paid:
            return {"charged": "Nothing was charged.", "charged_zh": "未产生任何费用。"}
        total = yuan(sum(each.fen for each in paid))
        names = ", ".join(each.contract_id for each in paid)
        return {
            "charged": f"Charged all the same: {total} CNY under {names}.",
            "charged_zh": f"以下合约已计费，共 {total} 元：{names}。",
        }

    def _metadata(self) -> dict[str, str]:
        uses = {each.use_id: each.contract_id for each in self._progress.values()}
        told = noise.combined(
            {name: each.noise for name, each in self._progress.items() if each.noise},
            len(self._progress),
        )
        return {
            **({"yunhe.noise": json.dumps(told, ensure_ascii=False)} if told else {}),
            "yunhe.fabric_id": self.fabric_id,
            "yunhe.policy": json.dumps(self.plan.policy, ensure_ascii=False),
            "yunhe.uses": json.dumps(uses),
        }

    # -- the answer ------------------------------------------------------------------------

    def _next_frame(self) -> bytes | None:
        engine = self._engine
        assert engine is not None  # noqa: S101 - started
        try:
            return engine.frame()
        except EngineFailed as error:
            raise self._local(error) from error

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> bytes:
        with self._reading:
            return self._step()

    def _step(self) -> bytes:
        held = self._held
        if held is None or self._done:
            self._finish("done", "")
            raise StopIteration
        try:
            self._held = self._next_frame()
        except BaseException as error:
            self._finish("failed", error.code if isinstance(error, YunheError) else "FAULT")
            raise
        return held

    def pour(self, outlet: Outlet) -> bool:
        """As `__next__`, to a connection; False at the end."""
        chunk = next(self, None)
        if chunk is None:
            return False
        outlet.chunk(chunk, lambda: None)
        return True

    def close(self) -> None:
        """Stop here. Idempotent, from any thread; what the parts delivered stays charged."""
        if self._engine is not None and not self._done:
            self._engine.stop()  # whoever reads in another thread sees the end at once
        with self._reading:
            self._finish("failed", "READER_GONE")

    def _finish(self, state: str, code: str) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        if self._engine is not None:
            self._engine.kill()
        self._ended(self._made, state, self.told(), code)


def _empty(schema: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, read_schema(schema)):
        pass
    return bytes(sink.getvalue())
