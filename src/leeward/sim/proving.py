"""What a simulated primary does beside its steps: it writes the record of its epoch, and shows that commits wait.

As in ``leeward.instance``, a commit is seen waiting or it is not; what the configuration says does not count.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from leeward.core.values import Role
from leeward.instance.machine.values import Proof

if TYPE_CHECKING:
    from leeward.sim.database import Instance

PROVE_S = (0.002, 0.01)
PROVE_AGAIN_S = 0.05
WRITE_EVERY_S = 0.5


class Proving:
    """The sessions that an instance manager keeps beside its steps."""

    def __init__(self, instance: "Instance", chance: Random) -> None:
        self.proof: Proof | None = None
        """What is being shown."""
        self._instance = instance
        self._chance = chance
        self._checks = False

    def end(self) -> None:
        """The sessions ended with PostgreSQL."""
        self.proof, self._checks = None, False

    def prove(self, proof: Proof | None) -> None:
        """Begin to show something; None: stop, as nothing is to be shown."""
        if proof == self.proof:
            return
        self.proof = proof
        if proof is not None:
            self._instance.process.after(self._chance.uniform(*PROVE_S), self._record, proof)

    def _record(self, proof: Proof) -> None:
        """Write the record of the epoch, which is visible at once; then commit something that has to wait."""
        server = self._instance.postgres
        if proof is not self.proof or server.role is not Role.PRIMARY:
            return
        if server.hung:
            self._instance.process.after(PROVE_AGAIN_S, self._record, proof)
            return
        server.record(proof.epoch)
        instance = self._instance
        instance.learn(replace(instance.memory, recorded_epoch=proof.epoch, written_at_s=instance.clock()))
        self._commit(proof)

    def _commit(self, proof: Proof) -> None:
        server = self._instance.postgres
        if proof is not self.proof or server.role is not Role.PRIMARY:
            return
        # A commit is seen waiting, or it is not: what the configuration says does not count.
        waits = server.commits.waits and server.commits.names == proof.synchronous
        if server.hung or (proof.synchronous is not None and not waits):
            self._instance.process.after(PROVE_AGAIN_S, self._commit, proof)
            return
        if proof.synchronous is not None and self._instance.memory.waited != proof:
            self._instance.learn(replace(self._instance.memory, waited=proof))
        server.commit(lambda: self._committed(proof))

    def _committed(self, proof: Proof) -> None:
        if proof is self.proof:
            self._instance.learn(replace(self._instance.memory, proved_epoch=proof.epoch))

    def check_writes(self, wanted: bool) -> None:
        """Commit something locally again and again, for as long as that is wanted."""
        if wanted and not self._checks:
            self._instance.process.after(WRITE_EVERY_S, self._write_again, self._instance.process.life)
        self._checks = wanted

    def _write_again(self, life: int) -> None:
        if not self._checks or life != self._instance.process.life or self._instance.postgres.role is not Role.PRIMARY:
            self._checks = False
            return
        if not self._instance.postgres.hung:
            self._instance.memory = replace(self._instance.memory, written_at_s=self._instance.clock())
        self._instance.process.after(WRITE_EVERY_S, self._write_again, life)
