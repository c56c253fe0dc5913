"""The learned world model: a generator, its normaliser, and the roll-out that a planner pays for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drift_wm.generators import (
    ConditionalGenerator,
    DriftingGenerator,
    RegressionGenerator,
    make_generator,
    sample_scores,
)
from drift_wm.interfaces import Batch, History, Prediction, Spec
from drift_wm.models.actor_critic import ActorCritic, Steps
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.ending import Ending
from drift_wm.models.normalisation import Normaliser, Scales, differ, join_changes, predicting_anew, reading_anew
from drift_wm.models.precision import WIDE, takes_bfloat16
from drift_wm.models.requests import require_fitting
from drift_wm.requirements import require


class LearnedWorldModel(nn.Module):
    """p(next k observations and rewards | K observations, the actions between and after them).

    Args:
        spec: sizes of the task.
        config: shape of the model.
        rng: source of the initial weights.

    Raises:
        ValueError: an angle is no entry of the observation.
    """

    def __init__(self, spec: Spec, config: WorldModelConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.history = config.history
        self.chunk = config.chunk
        D, A, K, k = spec.observation_size, spec.action_size, config.history, config.chunk
        require(max(config.angles, default=0) < D, "model.angles", config.angles, f"entries of an observation of {D}")
        self.normaliser = Normaliser(D, A, k, angles=config.angles)
        R = self.normaliser.read_size
        self.generator = make_generator(config.generator, K * R + (K - 1 + k) * A, k * (D + 1), blocks=k, rng=rng)
        self.ending = Ending(R, rng=rng)
        self.value = ActorCritic(R, A, discount=config.value_discount, rng=rng) if config.value_discount else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.normaliser.obs_mean.device

    @property
    def members(self) -> list[ConditionalGenerator]:
        """The generators of an ensemble; of a single one, itself."""
        return self.generator.each()

    @property
    def training_steps(self) -> int:
        """Steps of a training window after its history: the chunks that a loss predicts in a row."""
        return self.config.self_rollout * self.chunk

    def loss(self, batch: Batch, *, rng: torch.Generator) -> Tensor:
        """The generator's loss on a batch of windows of `training_steps` steps, in standardised units.

        Plus those of endings and of the value, where there are any; they share no weights with it.
        """
        if self.config.self_rollout > 1:
            loss = torch.stack([self._trajectory_loss(member, batch, rng) for member in self.members]).mean()
        else:
            loss = self.generator.loss(*self.pair(batch), rng=rng)
        if batch.ended is not None:
            loss = loss + self.ending.loss(self.normaliser.obs(batch.obs[:, self.history :]), batch.ended)
        if self.value is not None:
            now, discount = self.history - 1, self.value.discount
            obs = self.normaliser.obs(batch.obs[:, now:])
            recorded = Steps.of(obs, batch.actions[:, now:], batch.reward, batch.ended, discount=discount)
            imagined = self.imagined(batch, rng=rng) if self.config.value_imagined else None
            loss = loss + self.value.loss(recorded, imagined, weight=self.config.value_imagined, rng=rng)
        return loss

    @torch.no_grad()
    def imagined(self, batch: Batch, *, rng: torch.Generator) -> Steps:
        """A step from each window's present that was never taken.

        Of a chunk, the actor chooses the first action; those after it stay as recorded, and tell of what was recorded
        if whoever chose them had looked (see `chunk`). Chunks of one step are free of that.
        """
        assert self.value is not None
        K, k = self.history, self.chunk
        frames, actions = batch.obs[:, :K], batch.actions[:, : K - 1 + k].clone()
        obs = self.normaliser.obs(frames[:, -1])
        actions[:, K - 1] = self.value.try_actions(obs, rng=rng)
        z = torch.randn(len(obs), self.generator.noise_size, generator=rng, device=obs.device)
        target = self.generator.sample(self._condition(frames, actions), z)
        predicted, reward = self.normaliser.prediction(frames[:, -1], target.view(len(obs), k, -1))
        after = self.normaliser.obs(predicted[:, :1])
        ended = torch.sigmoid(self.ending.logit(after)) if self.ending.seen else None
        both, tried = torch.cat([obs.unsqueeze(1), after], dim=1), actions[:, K - 1 : K]
        return Steps.of(both, tried, reward[:, :1], ended, discount=self.value.discount)

    def scores(self, batch: Batch, *, rng: torch.Generator) -> dict[str, Tensor]:
        """What to watch, equal for all generators, of the first chunk of each window: see `sample_scores`."""
        with torch.no_grad():
            return sample_scores(self.generator, *self.pair(batch), rng=rng)

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Conditions (B, C) and targets (B, Y) of the first chunk of each window."""
        K, k = self.history, self.chunk
        frames, future = batch.obs[:, :K], batch.obs[:, K : K + k]
        y = self.normaliser.target(frames[:, -1], future, batch.reward[:, :k])
        return self._condition(frames, batch.actions[:, : K - 1 + k]), y.flatten(1)

    def _trajectory_loss(self, member: ConditionalGenerator, batch: Batch, rng: torch.Generator) -> Tensor:
        """Score chunks in a row as one trajectory, each predicted from the model's own samples of the one before.

        The recorded trajectory is one sample of the joint law given all actions, so the same field applies to it.
        Samples and data are measured from the recorded start of each chunk. A mean is learned of the first chunk alone:
        what comes after depends on the sample before it.
        """
        assert isinstance(member, DriftingGenerator | RegressionGenerator), "settings allow no other"
        K, k, D, scales = self.history, self.chunk, self.spec.observation_size, self.normaliser
        B, G = batch.obs.shape[0], member.siblings
        obs = batch.obs[:, None, :K].expand(B, G, K, D)
        samples, data, mean = [], [], None
        for start in range(0, self.training_steps, k):
            recorded, future = batch.obs[:, start + K - 1], batch.obs[:, start + K : start + K + k]
            data.append(scales.target(recorded, future, batch.reward[:, start : start + k]).flatten(1))
            acted = batch.actions[:, None, start : start + K - 1 + k].expand(B, G, -1, -1)
            z = torch.randn(B, G, member.noise_size, generator=rng, device=obs.device)
            c = self._condition(obs, acted)
            if start == 0 and isinstance(member, DriftingGenerator):
                features = member.backbone.features(member.backbone.from_condition(c), z)
                mean = features.mean(dim=1)
                target = member.backbone.read_out(features, z)
            else:
                target = member.sample(c, z)
            target = target.view(B, G, k, D + 1)
            predicted, reward = scales.prediction(obs[..., -1, :], target)
            samples.append(scales.target(recorded.unsqueeze(1), predicted, reward).flatten(2))
            obs = torch.cat([obs, predicted], dim=2)[:, :, -K:]
        loss = member.loss_of(torch.cat(samples, dim=2), torch.cat(data, dim=1), blocks=self.training_steps)
        if isinstance(member, DriftingGenerator) and mean is not None:
            loss = loss + member.mean_loss(mean, data[0], drift=loss)
        return loss

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
        """See `WorldModel.rollout`: H / k samples of all B * N * P futures together, each of `nfe` evaluations."""
        require_fitting(self, history, actions, particles)
        noise = self.draw_noise(actions, particles, rng=rng, independent=independent)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bfloat16()):
            futures = [self._futures(member, history, actions, part) for member, part in self.share_out(noise)]
        of_all = torch.cat(futures, dim=2) if len(futures) > 1 else futures[0]  # cat would copy it
        future = of_all.expand(*actions.shape[:2], particles, -1, -1)
        prediction = Prediction(obs=future[..., :-1], reward=future[..., -1])
        return self.with_ends_and_value(prediction, ends=bool(self.ending.seen))

    def with_ends_and_value(self, prediction: Prediction, *, ends: bool) -> Prediction:
        """The same, now of a world that may end on the way if so told, and with the value of where it leads."""
        if self.value is not None:
            prediction.terminal_value = self.value(self.normaliser.obs(prediction.final))
        if ends:
            survival = self.ending.survival(self.normaliser.obs(prediction.obs))
            # Rewards behind an end are zeros, so the generator has ends within a chunk in its mean already.
            chunk_starts = torch.arange(prediction.reward.shape[-1]) // self.chunk * self.chunk
            prediction.reward = prediction.reward * survival[..., chunk_starts]
            if prediction.terminal_value is not None:
                prediction.terminal_value = prediction.terminal_value * survival[..., -1]
        return prediction

    def draw_noise(self, actions: Tensor, particles: int, *, rng: torch.Generator, independent: bool) -> Tensor:
        """The noise of a rollout, (H / k, B or 1, 1, P, Z); one particle stands for all where nothing is drawn."""
        P = particles if self.generator.stochastic else 1
        shape = (actions.shape[2] // self.chunk, actions.shape[0] if independent else 1, 1, P)
        z = torch.randn(*shape, self.generator.noise_size, generator=rng, device=rng.device, dtype=torch.float32)
        return z.to(self.device)

    def share_out(self, noise: Tensor) -> list[tuple[ConditionalGenerator, Tensor]]:
        """The noise (..., P, Z) of each member's particles."""
        members = self.members[: noise.shape[-2]]
        return list(zip(members, noise.tensor_split(len(members), dim=-2), strict=True))

    def _futures(self, member: ConditionalGenerator, history: History, actions: Tensor, noise: Tensor) -> Tensor:
        """Futures (B, N, P, H, D + 1) that one member samples from noise (H / k, B or 1, 1, P, Z)."""
        B, N, H, A = actions.shape
        K, k, D, net = self.history, self.chunk, self.spec.observation_size, member.backbone
        # The first layer is a sum: the share of all actions is known before anything is predicted, and is equal for
        # all particles; that of the first frames is equal for all candidates. `PreparedModel` does the same faster.
        acted = torch.cat([history.actions[:, None].expand(B, N, K - 1, A), actions], dim=2)
        chunks = self.normaliser.actions(acted).unfold(2, K - 1 + k, k).transpose(-1, -2).flatten(-2)
        seen = K * self.normaliser.read_size
        from_actions = net.first_layer_of(slice(seen, None), chunks) + net.from_condition.bias
        obs = history.obs[:, None, None]
        future = actions.new_empty(B, N, noise.shape[3], H, D + 1)
        for i, (from_action, z) in enumerate(zip(from_actions.unsqueeze(3).unbind(2), noise, strict=True)):
            known = from_action + net.first_layer_of(slice(seen), self.normaliser.obs(obs).flatten(-2))
            target = member.decode(known, z).float().view(B, N, -1, k, D + 1)
            change = torch.addcmul(self.normaliser.target_mean, target, self.normaliser.target_std)
            change[..., :D] += obs[..., -1:, :]
            future[..., i * k : (i + 1) * k, :] = change
            obs = self.next_frames(obs, change[..., :D])
        return future

    def next_frames(self, obs: Tensor, predicted: Tensor) -> Tensor:
        """Frames (..., K, D), which may still be equal for all candidates, and k predicted ones -> the newest K."""
        K, k = self.history, self.chunk
        if k >= K:
            return predicted[..., -K:, :]
        return torch.cat([obs[..., k:, :].expand(*predicted.shape[:-2], -1, -1), predicted], dim=-2)

    @torch.no_grad()
    def rescale(self, scales: Scales, *, exact: bool = False) -> bool:
        """Adopt the scales of new data without changing what a trained model predicts.

        Training is a sequence of models in which each continues the last; the network's first and last layers absorb
        the change of units, so a child starts exactly where its parent stood, but for entries that hardly varied until
        now (`reading_anew`, `predicting_anew`); `exact` is for models that learn no more. Generators that mix
        targets with noise of unit scale keep a target's until it is far from standard, and learn it anew. First scales
        change no weights. Returns whether an entry that hardly varied is read or learned anew.
        """
        scales, old, K = scales.to(self.device), self.normaliser, self.history
        anew = False
        if old.is_set:
            if not self.generator.rebases_output:
                scales = scales.keeping_targets_of(old)
            scales = scales.keeping_observations_of(old.obs_std).reading_actions_that(old.action_std.isfinite())
            seen, acted, target = exactly = old.changes_to(scales)
            if not exact:
                seen, acted, target = reading_anew(seen), reading_anew(acted), predicting_anew(target)
                anew = differ((seen, acted, target), exactly)
            condition = join_changes([seen] * K + [acted] * (K - 1 + self.chunk))
            for member in self.members:
                member.rebase(condition, join_changes([target]))
            self.ending.rebase(*seen)
            if self.value is not None:
                self.value.rebase(*seen)
        if self.value is not None:
            self.value.see_rewards(scales.target_mean[0, -1], scales.target_std[0, -1])
        self.normaliser.set(scales)
        return anew

    def _condition(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Frames (..., K, D) and actions (..., K - 1 + k, A) -> conditions (..., C)."""
        seen, acted = self.normaliser.obs(frames), self.normaliser.actions(actions)
        return torch.cat([seen.flatten(-2), acted.flatten(-2)], dim=-1)

    def uses_bfloat16(self) -> bool:
        """Whether the network predicts in bfloat16."""
        return takes_bfloat16(self.config.precision, self.device, worth_it=self.config.generator.width >= WIDE)
