"""Asks the broker which staged submissions may start, in few questions: while one is on its way, the next ones gather."""

import asyncio
from typing import Final

from caravan.contracts.dispatch import Commit, CommitBatch, Committed
from services.broker.agent.tenure import AgentApi, Tenure

AT_ONCE: Final = 100


class Committer:
    """One site's. What a question raises, all of those raise that were in it."""

    def __init__(self, tenure: Tenure, broker: AgentApi) -> None:
        self._tenure = tenure
        self._broker = broker
        self._waiting: list[tuple[Commit, asyncio.Future[Committed]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, commit: Commit) -> Committed:
        """The broker's word on it. Raises what `AgentApi.commit_submissions` raises."""
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._waiting.append((commit, answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(), name=f"commit:{self._tenure.site}")
        return await answer

    def close(self) -> None:
        """Ask no more. Whoever waits is to be cancelled."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_all(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            batch = CommitBatch(epoch=self._tenure.epoch, commits=tuple(commit for commit, _ in asked))
            try:
                answers = (await self._broker.commit_submissions(self._tenure.site, batch)).items
            except Exception as error:  # each of those who asked decides what it means for them
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), said in zip(asked, answers, strict=True):
                if not answer.done():
                    answer.set_result(said)
