"""The scheduler keeps what is given, draws from the distribution, and treats the items of a batch as if alone."""

import itertools

import pytest
import torch
from scipy.stats import chi2
from token_toys import EnumeratedPrior, fill

from gss.core.errors import InputError
from gss.pipeline.sampling.draw import draw_tokens, token_probabilities
from gss.pipeline.sampling.orders import ORDERS, halton_cells
from gss.pipeline.sampling.scheduler import SCHEDULES, TokenScheduler

V = 5


def random_tokens(items, height, width, generator):
    """Return tokens with another share of unknown cells in each item, some with all and some with none."""
    tokens = torch.randint(V, (items, height, width), generator=generator)
    share = torch.rand(items, 1, 1, generator=generator) * 1.4 - 0.2
    return tokens.masked_fill(torch.rand(items, height, width, generator=generator) < share, V)


@pytest.mark.parametrize("order", ORDERS)
def test_known_cells_never_change(order):
    """10^5 random small grids in batches of any mixture, with every schedule, temperature and corrector."""
    generator = torch.Generator().manual_seed(0)
    options = itertools.cycle(itertools.product(SCHEDULES, (0.0, 0.5, 1.0, 4.0), (0.3, 1.0), (0, 2)))
    for number in range(250):
        height, width = ((1, 1), (1, 6), (3, 4), (5, 2))[number % 4]
        schedule, temperature, top_p, sweeps = next(options)
        scheduler = TokenScheduler(
            mask_token_id=V, order=order, schedule=schedule, temperature=temperature, top_p=top_p,
            corrector_sweeps=sweeps, order_noise=number % 3,
        )  # fmt: skip
        tokens = random_tokens(100, height, width, generator)
        known = tokens != V
        scales = torch.tensor([0.0, 1.0, 50.0, 1e4])[torch.randint(4, (100, 1, 1, 1), generator=generator)]
        logits = torch.randn(100, V, height, width, generator=generator) * scales
        result = fill(scheduler, lambda _: logits, tokens, steps=1 + number % 5, generator=generator)  # noqa: B023
        assert torch.equal(result[known], tokens[known])
        assert (result < V).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sweeps", [0, 2])
def test_a_batch_gives_what_its_items_give_alone(order, sweeps):
    tokens = random_tokens(6, 4, 7, torch.Generator().manual_seed(1))
    tokens[0], tokens[1] = V, 2
    mixing = torch.randn(V + 1, V, generator=torch.Generator().manual_seed(2))

    def logits(tokens):
        around = mixing[tokens].mean((1, 2), keepdim=True) + mixing[tokens]
        return around.movedim(-1, 1)

    def run(rows):
        scheduler = TokenScheduler(mask_token_id=V, order=order, corrector_sweeps=sweeps)
        generators = [torch.Generator().manual_seed(10 + row) for row in rows]
        return fill(scheduler, logits, tokens[rows], steps=4, generator=generators)

    assert torch.equal(run(list(range(6))), torch.cat([run([row]) for row in range(6)]))


@pytest.mark.parametrize("order", ORDERS)
def test_one_step_is_factorised_sampling(order):
    logits = torch.randn(2, V, 3, 4, generator=torch.Generator().manual_seed(3))
    scheduler = TokenScheduler(mask_token_id=V, order=order)
    tokens = torch.full((2, 3, 4), V)
    result = fill(scheduler, lambda _: logits, tokens, steps=1, generator=torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)
    torch.rand(2, 1, generator=generator)  # the start of the order
    uniforms = torch.rand(2, 12, generator=generator).flatten()
    rows = logits.movedim(1, -1).reshape(-1, V)
    assert torch.equal(result.flatten(), draw_tokens(rows.softmax(1), uniforms))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_as_many_steps_as_unknown_cells_draw_one_at_a_time(order, schedule):
    tokens = random_tokens(8, 3, 4, torch.Generator().manual_seed(5))
    scheduler = TokenScheduler(mask_token_id=V, order=order, schedule=schedule)
    scheduler.set_timesteps(12)
    scheduler.begin(tokens)
    for timestep in scheduler.timesteps:
        before = (tokens == V).flatten(1).sum(1)
        output = scheduler.step(torch.randn(8, V, 3, 4), timestep, tokens)
        tokens = output.prev_sample
        assert torch.equal(before - (tokens == V).flatten(1).sum(1), before.clamp(max=1))
        assert torch.equal(output.drawn.flatten(1).sum(1), before.clamp(max=1))


@pytest.mark.parametrize("order", ["halton", "random"])
def test_samples_have_the_frequencies_of_the_distribution(order):
    prior, count = EnumeratedPrior(), 40_000
    scheduler = TokenScheduler(mask_token_id=3, order=order)
    tokens = torch.full((count, 2, 2), 3)
    samples = fill(scheduler, prior.logits, tokens, steps=4, generator=torch.Generator().manual_seed(6))
    observed = torch.bincount(prior.index(samples), minlength=81).double()
    expected = prior.probabilities * count
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert chi2.sf(statistic, 80) > 1e-3
    # The factorised prior has other frequencies: the test would see it.
    samples = fill(scheduler, prior.logits, tokens, steps=1, generator=torch.Generator().manual_seed(6))
    observed = torch.bincount(prior.index(samples), minlength=81).double()
    assert chi2.sf(float(((observed - expected) ** 2 / expected).sum()), 80) < 1e-12


def test_samples_given_a_cell_have_its_conditional_frequencies():
    prior, count = EnumeratedPrior(seed=1), 20_000
    tokens = torch.full((count, 2, 2), 3)
    tokens[:, 1, 0] = 2
    samples = fill(
        TokenScheduler(mask_token_id=3), prior.logits, tokens, steps=3, generator=torch.Generator().manual_seed(7)
    )
    observed = torch.bincount(prior.index(samples), minlength=81).double()
    fits = prior.grids[:, 2] == 2
    expected = prior.probabilities[fits] / prior.probabilities[fits].sum() * count
    assert observed[~fits].sum() == 0
    assert chi2.sf(float(((observed[fits] - expected) ** 2 / expected).sum()), 26) > 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedule_is_about_the_unknown_cells_of_each_item(schedule):
    tokens = torch.full((2, 10, 10), V)
    tokens[1, :, 2:] = 0  # 20 unknown cells
    scheduler = TokenScheduler(mask_token_id=V, schedule=schedule)
    scheduler.set_timesteps(4)
    scheduler.begin(tokens)
    for number, timestep in enumerate(scheduler.timesteps):
        tokens = scheduler.step(torch.zeros(2, V, 10, 10), timestep, tokens).prev_sample
        left = [int(cells * SCHEDULES[schedule]((number + 1) / 4, cells)) if number < 3 else 0 for cells in (100, 20)]
        assert (tokens == V).flatten(1).sum(1).tolist() == left


def test_the_geometric_schedule_starts_with_few_cells():
    tokens = torch.full((1, 48, 64), V)
    scheduler = TokenScheduler(mask_token_id=V, schedule="geometric")
    scheduler.set_timesteps(12)
    scheduler.begin(tokens)
    known = []
    for timestep in scheduler.timesteps:
        tokens = scheduler.step(torch.zeros(1, V, 48, 64), timestep, tokens).prev_sample
        known.append(int((tokens != V).sum()))
    assert known[0] <= 2 and known[2] <= 8 and known[-2:] == [1574, 3072]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (5, 8), (30, 40), (64, 64)])
def test_the_halton_order_has_every_cell_once(size):
    assert sorted(halton_cells(*size).tolist()) == list(range(size[0] * size[1]))


def test_the_halton_order_is_spread():
    """Of the first 16 cells of a 16 x 16 grid, one lies in almost every 4 x 4 block."""
    cells = halton_cells(16, 16)[:16]
    blocks = {(int(c) // 16 // 4, int(c) % 16 // 4) for c in cells}
    assert len(blocks) >= 14


def test_spread_entropy_takes_no_neighbours_first():
    tokens = torch.full((1, 9, 9), V)
    logits = torch.randn(1, V, 9, 9, generator=torch.Generator().manual_seed(0)) * 3
    scheduler = TokenScheduler(mask_token_id=V, order="spread_entropy", schedule="linear")
    scheduler.set_timesteps(20)
    scheduler.begin(tokens)
    drawn = scheduler.step(logits, 19, tokens).drawn[0].nonzero()
    apart = (drawn[:, None] - drawn[None]).abs().amax(2) + 99 * torch.eye(len(drawn), dtype=torch.int64)
    assert len(drawn) == 5
    assert apart.min() > 2


def test_top_p_keeps_the_most_probable_tokens():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert token_probabilities(logits, top_p=0.5).tolist() == [[1, 0, 0, 0]]
    assert torch.allclose(token_probabilities(logits, top_p=0.6), torch.tensor([[0.625, 0.375, 0, 0]]))
    assert token_probabilities(logits, temperature=0).tolist() == [[1, 0, 0, 0]]


def test_the_late_temperature_is_that_of_the_second_half():
    logits = torch.zeros(1, 5, 4, 8)
    logits[:, 2] = 0.5
    scheduler = TokenScheduler(mask_token_id=5, schedule="linear", temperature=1.0, late_temperature=0.0)
    scheduler.set_timesteps(4)
    sample = torch.full((1, 4, 8), 5)
    scheduler.begin(sample, generator=torch.Generator().manual_seed(0))
    for timestep in scheduler.timesteps.tolist():
        output = scheduler.step(logits, timestep, sample, generator=torch.Generator().manual_seed(timestep))
        fresh, sample = output.prev_sample[output.drawn], output.prev_sample
        assert len(fresh) == 8 and bool((fresh == 2).all()) == (timestep < 2)
    # One step draws from the prior itself.
    scheduler.set_timesteps(1)
    scheduler.begin(torch.full((1, 4, 8), 5), generator=torch.Generator().manual_seed(0))
    single = scheduler.step(logits, 0, torch.full((1, 4, 8), 5), generator=torch.Generator().manual_seed(0))
    assert len(single.prev_sample.unique()) == 5


def test_a_token_without_probability_is_never_drawn():
    rows = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(5, 5)
    uniforms = torch.tensor([0.0, 0.299, 0.31, 0.999, 1 - 2**-24])
    assert draw_tokens(rows, uniforms).tolist() == [1, 1, 3, 3, 3]


def test_the_settings_are_kept():
    scheduler = TokenScheduler(mask_token_id=7, order="random", top_p=0.5)
    again = TokenScheduler.from_config(scheduler.config)
    assert dict(again.config) == dict(scheduler.config)
    assert (again.config.mask_token_id, again.config.order, again.config.top_p) == (7, "random", 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "haltom"}, "unknown order 'haltom', did you mean 'halton'"),
        ({"schedule": "sine"}, "unknown schedule 'sine'"),
        ({"trust": 1.5}, "trust is 1.5; it must be a number from 0 to 1"),
        ({"late_temperature": -1.0}, "late_temperature is -1.0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"corrector_share": 1.5}, "corrector_share is 1.5"),
        ({"corrector_sweeps": -1}, "corrector_sweeps is -1"),
        ({"mask_token_id": 0}, "mask_token_id is 0"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TokenScheduler(**{"mask_token_id": V, **options})


def test_bad_input_is_refused():
    scheduler = TokenScheduler(mask_token_id=V)
    tokens = torch.full((2, 2, 3), V)
    with pytest.raises(InputError, match="call set_timesteps and begin"):
        scheduler.step(torch.zeros(2, V, 2, 3), 0, tokens)
    with pytest.raises(InputError, match="steps is 0"):
        scheduler.set_timesteps(0)
    scheduler.set_timesteps(1)
    with pytest.raises(InputError, match="known marks cells that hold the mask token"):
        scheduler.begin(tokens, known=torch.ones(2, 2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"tokens 5\.\.6, allowed are 0\.\.5"):
        scheduler.begin(torch.tensor([[[5, 6]]]))
    scheduler.begin(tokens)
    with pytest.raises(InputError, match="none for the mask token"):
        scheduler.step(torch.zeros(2, V + 1, 2, 3), 0, tokens)
    with pytest.raises(InputError, match="list of 1; give one, or one for each of 2 items"):
        scheduler.step(torch.zeros(2, V, 2, 3), 0, tokens, generator=[torch.Generator()])


def test_logits_of_the_cells_that_are_drawn_are_enough():
    start = random_tokens(4, 6, 7, torch.Generator().manual_seed(3))
    logits = torch.randn(4, V, 6, 7, generator=torch.Generator().manual_seed(4))
    results = []
    for part in (False, True):
        scheduler = TokenScheduler(mask_token_id=V, corrector_sweeps=1)
        scheduler.set_timesteps(3)
        generator = torch.Generator().manual_seed(5)
        tokens = start
        scheduler.begin(tokens, generator=generator)
        for timestep in (2, 1, 0, -1):
            tokens = scheduler.remask(tokens) if timestep < 0 else tokens
            cells = scheduler.next_cells(max(timestep, 0), tokens) if part else None
            given = logits if cells is None else logits.flatten(2).gather(2, cells[:, None].expand(-1, V, -1))
            tokens = scheduler.step(given, max(timestep, 0), tokens, generator=generator, cells=cells).prev_sample
        results.append(tokens)
    assert torch.equal(*results) and bool((results[0] != V).all())
    assert TokenScheduler(mask_token_id=V, order="confidence").next_cells(0, start) is None
