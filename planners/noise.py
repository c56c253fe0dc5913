"""Exploration noise that is coloured along the horizon."""

from __future__ import annotations

import torch
from torch import Tensor

_STOCK_SEED = 0  # the same stock in every process: a run that is continued plans as it would have
_FEWEST, _STRETCHES = 2, 8  # of a stock, side by side: as many as it has room for
_SEQUENCES = 4096  # of a stock of small budgets: a planner that meets a few directions again and again is stuck
_LONGEST_MATRIX = 1024  # steps of a filter that is kept: 4 MB
_MOST = 2**24  # numbers of a stock, 64 MB, where that leaves room for the fewest


def spectrum_amplitude(horizon: int, exponent: float) -> Tensor:
    """Amplitude of each frequency of noise whose power falls as 1 / frequency ** exponent.

    Follows Timmer and Koenig (1995), as used by iCEM (Pinneri et al. 2020): the zero frequency, which the
    power law leaves infinite, gets the power of the lowest frequency that fits into the horizon.

    Args:
        horizon: H, at least 1.
        exponent: beta; 0 is white, 1 pink, 2 Brownian, negative values are blue.

    Returns:
        (H // 2 + 1,) float64, scaled such that noise filtered with it has unit variance.
    """
    frequency: Tensor = torch.fft.rfftfreq(horizon, dtype=torch.float64).clamp_min(1.0 / horizon)
    amplitude = torch.pow(frequency, -exponent / 2)
    # A real signal has every frequency twice, except the zero one and, for an even horizon, the highest.
    power: Tensor = torch.fft.irfft(amplitude.square().to(torch.complex128), n=horizon)[0]
    return amplitude / power.sqrt()


class ColouredNoise:
    """Draws Gaussian noise of unit variance whose spectrum along the horizon is a power law.

    A plan's horizon is short, so the filter FFT^-1 . amplitude . FFT is kept as one symmetric (H, H) matrix: on
    a CPU multiplying by it takes about half the time of transforming there and back, which whole episodes do. The
    noise is periodic in the horizon, as that of every FFT method.
    """

    def __init__(self, horizon: int, exponent: float) -> None:
        """Precompute the filter.

        Args:
            horizon: H, the length of a sequence.
            exponent: beta of the power law; 0 gives white noise and skips the filter.
        """
        self.horizon = horizon
        self.amplitude = None if exponent == 0.0 else spectrum_amplitude(horizon, exponent)
        self.filter: Tensor | None = None
        if self.amplitude is not None and horizon <= _LONGEST_MATRIX:
            self.filter = self._coloured(torch.eye(horizon, dtype=torch.float64)).to(torch.float32)

    def sample(self, count: int, action_size: int, *, rng: torch.Generator) -> Tensor:
        """Draw `count` sequences, each action entry independent of the others.

        Args:
            count: N sequences.
            action_size: A entries per action.
            rng: source of randomness.

        Returns:
            (N, H, A) float32 on the device of `rng`.
        """
        if self.amplitude is None:
            return torch.randn(count, self.horizon, action_size, generator=rng, device=rng.device)
        white = torch.randn(count, action_size, self.horizon, generator=rng, device=rng.device)
        if self.filter is None:
            return self._coloured(white.double()).mT.float().contiguous()
        self.filter = self.filter.to(rng.device)
        return (white @ self.filter).mT.contiguous()

    def _coloured(self, white: Tensor) -> Tensor:
        """White noise (..., H) in float64 -> the same with this spectrum."""
        assert self.amplitude is not None
        filtered: Tensor = torch.fft.irfft(torch.fft.rfft(white) * self.amplitude.to(white.device), n=self.horizon)
        return filtered


class NoiseStock:
    """Coloured noise that is drawn once, and of which every decision takes a stretch from a place of its own.

    Drawing was a tenth of a decision: torch draws on one core. Evolution strategies have long shared a table of noise
    the same way (Salimans et al. 2017, arXiv 1703.03864, section 2.1).

    Args:
        count: N, sequences of a stretch.
        horizon: H.
        action_size: A.
        exponent: beta of the power law.
        device: where the noise is kept, in float32.
    """

    def __init__(self, count: int, horizon: int, action_size: int, exponent: float, *, device: torch.device) -> None:
        self.count = count
        source = torch.Generator().manual_seed(_STOCK_SEED)
        wanted = max(_STRETCHES, -(-_SEQUENCES // count))
        stretches = max(_FEWEST, min(wanted, _MOST // (count * horizon * action_size)))
        noise = ColouredNoise(horizon, exponent).sample(stretches * count, action_size, rng=source)
        self._noise = noise.to(device)

    def take(self, rng: torch.Generator) -> Tensor:
        """(N, H, A), a view that is not to be written to; only its place is drawn from `rng`."""
        places = len(self._noise) - self.count + 1
        place = int(torch.randint(places, (), generator=rng, device=rng.device))
        return self._noise[place : place + self.count]
