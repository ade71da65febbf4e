"""A verb as a value, and as a method of the two clients: one that blocks, one to await.

In: functions that build a `Call` or a `Flow`. Out: methods with the same parameters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from yunhe.sdk.call import Call, Flow

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """A client whose verbs answer."""

    def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb."""
        raise NotImplementedError


class Awaiting:
    """A client whose verbs are awaited."""

    async def run(self, work: Call[T] | Flow[T]) -> T:
        """Carry out a verb."""
        raise NotImplementedError


class Verb(Generic[P, T]):
    """Such a function as a method of a client, awaited where the client waits for nothing."""

    def __init__(self, build: Callable[P, Call[T] | Flow[T]]) -> None:
        self.build = build
        update_wrapper(cast(Any, self), build)

    @overload
    def __get__(self, space: None, owner: type) -> Callable[P, Call[T] | Flow[T]]: ...
    @overload
    def __get__(self, space: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, space: Awaiting, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, space: Blocking | Awaiting | None, owner: type) -> Any:
        if space is None:
            return self.build  # so that help() shows the documentation

        def verb(*args: P.args, **kwargs: P.kwargs) -> T | Awaitable[T]:
            return space.run(self.build(*args, **kwargs))

        return update_wrapper(verb, self.build)
