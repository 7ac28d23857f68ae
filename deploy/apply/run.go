package apply

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"wgkeys/deploy/apply/journal"
	"wgkeys/keyring/fault"
)

// Run takes the steps of a plan, writing each into the journal first, and
// calls each with those that are done. If one fails, or ctx ends, those that
// were taken are undone in reverse order and the error says so. What the tunnel works
// without is left out instead, and plan.Missing says so.
func Run(ctx context.Context, k Kernel, j *journal.Journal, plan *Plan, each func(Step)) error {
	var taken []Step
	undone := func(cause error) error {
		return undo(context.WithoutCancel(ctx), k, j, plan.Tunnel, taken, cause)
	}
	for _, batch := range batches(plan.Steps) {
		if err := ctx.Err(); err != nil {
			return undone(failed(plan, batch, err))
		}
		if err := free(k, batch[0].Change); err != nil {
			return undone(err)
		}
		err := take(ctx, k, j, batch)
		if err != nil && ctx.Err() == nil && batch[0].Change.traits().optional {
			plan.Missing = append(plan.Missing, leaveOut(k, j, batch, failed(plan, batch, err)))
			continue
		}
		if taken = append(taken, batch...); err != nil {
			return undone(failed(plan, batch, err))
		}
		for _, s := range batch {
			each(s)
		}
	}
	return nil
}

// leaveOut takes back what may have been done of steps that failed for cause. The
// journal keeps what cannot be taken back, and the next plan has them again.
func leaveOut(k Kernel, j *journal.Journal, batch []Step, cause error) error {
	for _, s := range slices.Backward(batch) {
		for _, c := range s.Change.Inverse() {
			takeBack(context.Background(), k, j, Step{c, "undo"}) // cause says what the trouble is
		}
	}
	return fmt.Errorf("%w; the tunnel is up without it", cause)
}

// RunDown takes all the steps that it can. The journal keeps what failed, so
// that another down can finish, and ends when nothing is left.
func RunDown(ctx context.Context, k Kernel, j *journal.Journal, plan *Plan, each func(Step)) error {
	var errs []error
	for _, s := range plan.Steps {
		if err := takeBack(ctx, k, j, s); err != nil {
			errs = append(errs, failed(plan, []Step{s}, err))
			continue
		}
		each(s)
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	return j.End()
}

// free reports an interface that somebody made since the plan was: a person may
// read a plan for minutes. It is not ours to change, nor to remove in undoing.
func free(k Kernel, c Change) error {
	link, ok := c.(LinkChange)
	if !ok || link.Old != nil || link.New == nil {
		return nil
	}
	if _, err := k.LinkIndex(link.Name); err != nil {
		return nil
	}
	return notOurs(link.Name)
}

// replaced reports an interface that is to be removed, and that is not the one of
// ours that was there when the plan was made.
func replaced(k Kernel, j *journal.Journal, c Change) error {
	link, ok := c.(LinkChange)
	if !ok || link.New != nil {
		return nil
	}
	number := j.LinkNumber(link.Name)
	if now, err := k.LinkIndex(link.Name); err != nil || number == 0 || now == number {
		return nil
	}
	return notOurs(link.Name)
}

func take(ctx context.Context, k Kernel, j *journal.Journal, batch []Step) error {
	if err := before(j, batch); err != nil {
		return err
	}
	if err := k.Do(ctx, changesOf(batch)); err != nil {
		return err
	}
	if c, ok := batch[0].Change.(LinkChange); ok && c.Old == nil && c.New != nil {
		index, err := k.LinkIndex(c.Name)
		if err == nil {
			err = number(j, c, index)
		}
		if err != nil {
			return err
		}
	}
	return after(j, batch)
}

// takeBack takes a step back to what was there before us. That needs no journal
// that can be written: what stays in it is found to be as it was.
func takeBack(ctx context.Context, k Kernel, j *journal.Journal, s Step) error {
	if err := replaced(k, j, s.Change); err != nil {
		return err
	}
	err := before(j, []Step{s})
	if failed := k.Do(ctx, []Change{s.Change}); failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, after(j, []Step{s}))
}

// ErrIncomplete is in the error of a [Run] that could not be undone: the tunnel is neither
// as before nor as wanted.
var ErrIncomplete = errors.New("some steps failed")

// undo takes the inverses of all steps, also of those of the batch that
// failed: part of it may have been done, and every change is idempotent.
func undo(ctx context.Context, k Kernel, j *journal.Journal, name string, taken []Step, cause error) error {
	var errs []error
	for _, s := range slices.Backward(taken) {
		for _, c := range s.Change.Inverse() {
			if err := takeBack(ctx, k, j, Step{c, "undo"}); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c, err))
			}
		}
	}
	if errs != nil {
		return errors.Join(append([]error{cause,
			fault.Wrap(ErrIncomplete, "could not undo all of it on tunnel", name, "wgkeys down -t "+name)}, errs...)...)
	}
	if len(j.Entries) == 0 {
		if err := j.End(); err != nil {
			return errors.Join(cause, err)
		}
	}
	return fmt.Errorf("%w; the tunnel is as it was before", cause)
}

// A ChangeError says which of the changes that were to be made at once failed.
type ChangeError struct {
	Change Change
	Err    error
}

func (e *ChangeError) Error() string { return fmt.Sprintf("%s: %v", e.Change, e.Err) }
func (e *ChangeError) Unwrap() error { return e.Err }

func failed(plan *Plan, batch []Step, err error) error {
	what := batch[0].Change.String()
	if len(batch) > 1 {
		what += fmt.Sprintf(" … (%d steps)", len(batch))
	}
	if c := (*ChangeError)(nil); errors.As(err, &c) {
		what, err = c.Change.String(), c.Err
	}
	return fault.Wrap(fmt.Errorf("%s: %w", what, err), "cannot change tunnel", plan.Tunnel, "")
}

// batches groups neighbouring steps of one kind, which the kernel may take at
// once. Parameters and links go one by one.
func batches(steps []Step) [][]Step {
	var out [][]Step
	for i, s := range steps {
		if i > 0 && reflect.TypeOf(s.Change) == reflect.TypeOf(steps[i-1].Change) && s.Change.traits().batched {
			out[len(out)-1] = append(out[len(out)-1], s)
			continue
		}
		out = append(out, []Step{s})
	}
	return out
}

func changesOf(steps []Step) []Change {
	changes := make([]Change, len(steps))
	for i, s := range steps {
		changes[i] = s.Change
	}
	return changes
}
