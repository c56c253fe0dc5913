"""A learned world model made ready to plan: what it predicts, without what a decision need not pay for."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drift_wm.generators import ConditionalGenerator
from drift_wm.interfaces import History, Prediction
from drift_wm.models.central import Centre
from drift_wm.models.drawn import Drawn
from drift_wm.models.machine_code import chunks
from drift_wm.models.requests import require_fitting
from drift_wm.models.world_model import LearnedWorldModel


class PreparedModel:
    """The predictions of a learned world model as it is now, faster.

    * Scales are folded into the network's first and last layers, so nothing is standardised on the way; in bfloat16,
      means are taken off before and put back after the network, which would round what lies far from zero.
    * The actions of all chunks of a horizon are laid out at once as the network reads them. Where several futures of a
      candidate share them, their share of the first layer is one product for all.
    * Observations are put together only when they are read.

    `LearnedWorldModel.rollout` is the reference that tests hold it to. Training on does not reach a prepared model.

    Args:
        model: predicts; copied.
        central: of each generator only the central future is seen, the mean or the sample from noise of zero, for
            planning on a single future: a draw would add its chance to every score of a decision. On
            cartpole-swingup one trained model returned 818 instead of 680 (5 evaluation episodes, one seed). Where a
            world may go several ways, plan on several particles instead.
        observe: whether observations will be read. If not, and if no world ends, the network leaves out those from
            which no chunk starts where one pass of it gives a chunk; to read them after all takes a second prediction.
        compile: predict by machine code on a CPU in float32, whatever the generator but for the samples of
            `consistency` and of those who sample in a way of their own: once in a process a second to compile it, and a
            half to a third of the time for each prediction. Says so in a warning where there is no compiler.
    """

    def __init__(
        self, model: LearnedWorldModel, *, central: bool = False, observe: bool = True, compile: bool = True
    ) -> None:
        self.spec, self.history, self.chunk, self.central = model.spec, model.history, model.chunk, central
        self._model = copy.deepcopy(model).requires_grad_(False).eval()
        keep_means, keep_targets = model.uses_bfloat16(), not model.generator.rebases_output
        units = model.normaliser.unit_scales(keep_means=keep_means, keep_targets=keep_targets)
        self._model.rescale(units, exact=True)
        for member in self._model.members:
            member.backbone.fold_shortcut()
        self._scales_targets = self._model.normaliser.is_set  # some keep means, some the scales of their targets
        self._action_mean = mean if (mean := self._model.normaliser.action_mean).any() else None
        self._ends = bool(self._model.ending.seen)
        observe = observe or self._ends  # which is told by observations
        self._looks_ahead = central and observe
        self._centre = Centre.of(self._model, observe=observe, compile=compile) if central else None
        self._drawn = Drawn.of(self._model, observe=observe) if compile and self._centre is None else None

    @property
    def nfe(self) -> int:
        """Network evaluations for each chunk of a future."""
        return self._model.generator.nfe

    @property
    def is_compiled(self) -> bool:
        """Whether predictions come from machine code."""
        return self._drawn is not None or (self._centre is not None and self._centre.is_compiled)

    @property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the products of one network evaluation for one future of the first member."""
        network = self._model.members[0].backbone
        sizes = [(layer.in_features, layer.out_features) for layer in (network.from_condition, *network.hidden)]
        fast = self._centre or self._drawn
        outputs = network.output.out_features if fast is None else fast.outputs
        return [*sizes, (network.output.in_features, outputs)]

    @torch.inference_mode()
    def rollout(
        self,
        history: History,
        actions: Tensor,
        *,
        particles: int,
        rng: torch.Generator,
        independent: bool = False,
    ) -> Prediction:
        """See `WorldModel.rollout`; of a central future all particles are the same, and `rng` is not read."""
        require_fitting(self._model, history, actions, particles)
        if self._action_mean is not None:
            history, actions = replace(history, actions=self._from_mean(history.actions)), self._from_mean(actions)
        if self._centre is not None:
            prediction = self._centre.rollout(history, actions, particles=particles)
        elif self._drawn is not None:
            noise = None
            if not self.central:
                noise = self._model.draw_noise(actions, particles, rng=rng, independent=independent)
            prediction = self._drawn.rollout(history, actions, noise, particles=particles)
        else:
            prediction = self._sample(history, actions, particles=particles, rng=rng, independent=independent)
        return self._model.with_ends_and_value(prediction, ends=self._ends)

    @torch.inference_mode()
    def look_ahead(self, frames: Tensor, actions: Tensor) -> Tensor:
        """The central observations (R, k, D) of one chunk, and nothing that a planner would judge them by.

        Args:
            frames: (R, K, D) that R predictions start from.
            actions: (R, K - 1 + k, A) between these frames and after them.

        Raises:
            ValueError: the model was made ready for something else.
        """
        if not self._looks_ahead:
            raise ValueError("look_ahead needs a model that was made ready by central=True and observe=True")
        actions = self._from_mean(actions)
        if (fast := self._centre or self._drawn) is not None:
            return fast.look_ahead(frames, actions)
        past, coming = actions.tensor_split([self.history - 1], dim=1)
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._model.uses_bfloat16()):
            futures = self._futures(self._model.members[0], History(frames, past), coming.unsqueeze(1), None)
        return futures.obs()[:, 0, 0]

    @torch.inference_mode()
    def act(self, obs: Tensor) -> Tensor:
        """Observations (..., D) -> actions (..., A) of the model's actor, which it must have."""
        assert self._model.value is not None
        return self._model.value.act(self._model.normaliser.obs(obs))

    def _from_mean(self, actions: Tensor) -> Tensor:
        """Actions (..., A) less a mean that the network is not to see."""
        return actions if self._action_mean is None else actions - self._action_mean

    def _sample(
        self, history: History, actions: Tensor, *, particles: int, rng: torch.Generator, independent: bool
    ) -> Prediction:
        """Draws, and central futures that take more than a pass, where machine code does not predict them."""
        model = self._model
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.uses_bfloat16()):
            if self.central:
                futures = [self._futures(model.members[0], history, actions, None)]
            else:
                noise = model.draw_noise(actions, particles, rng=rng, independent=independent)
                futures = [self._futures(member, history, actions, part) for member, part in model.share_out(noise)]
        shape = (*actions.shape[:2], particles)
        return Prediction(
            obs=lambda: torch.cat([future.obs() for future in futures], dim=2).expand(*shape, -1, -1),
            reward=torch.cat([future.reward() for future in futures], dim=2).expand(*shape, -1),
        )

    def _futures(
        self, member: ConditionalGenerator, history: History, actions: Tensor, noise: Tensor | None
    ) -> _Futures:
        """The P futures of one member."""
        (B, N), K, k, D, net = actions.shape[:2], self.history, self.chunk, self.spec.observation_size, member.backbone
        P, scales = 1 if noise is None else noise.shape[3], self._model.normaliser
        acted, seen = chunks(history, actions, k), K * scales.read_size
        from_actions = net.first_layer_of(slice(seen, None), acted).add_(net.from_condition.bias)
        frames = history.obs[:, None, None]  # (B, 1, 1, K, D), later (B, N, P, K, D)
        futures = _Futures([], [])
        for i, known in enumerate(from_actions.view(-1, B, N, 1, from_actions.shape[-1]).unbind(0)):
            read = scales.with_angles(frames - scales.obs_mean, frames)
            known = known + net.first_layer_of(slice(seen), read.flatten(-2))
            target = member.centre(known) if noise is None else member.decode(known, noise[i])
            change = target.float().view(B, N, P, k, D + 1)
            if self._scales_targets:
                change = torch.addcmul(scales.target_mean, change, scales.target_std)
            start = frames[..., -1:, :]
            futures.starts.append(start)
            futures.changes.append(change)
            frames = self._model.next_frames(frames, change[..., -min(K, k) :, :D] + start)
        return futures


@dataclass(frozen=True, slots=True)
class _Futures:
    """What a member predicted, chunk by chunk."""

    starts: list[Tensor]
    """The frame (B, N, P, 1, D) before each chunk; the first is the same for all candidates."""
    changes: list[Tensor]
    """(B, N, P, k, D + 1): changes of the observation since then, and rewards."""

    @torch.inference_mode()
    def obs(self) -> Tensor:
        """(B, N, P, H, D)."""
        parts = zip(self.starts, self.changes, strict=True)
        return torch.cat([start + change[..., :-1] for start, change in parts], dim=3)

    def reward(self) -> Tensor:
        """(B, N, P, H)."""
        return torch.cat([change[..., -1] for change in self.changes], dim=3)
