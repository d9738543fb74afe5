package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/principal"
)

// errMemory means that a process used more memory than its container has.
var errMemory = errors.New("a process exceeded the memory limit of its container")

// attacks measures, while one client attacks, the response times and failures of another user (the bystander), and
// the memory of every process. Before and after each attack it takes the same measurements without an attack.
func attacks(ctx context.Context, b *Bench) (err error) {
	all, err := chosen(b.Attacks.Only)
	if err != nil {
		return err
	}
	restore, err := b.Target.Confine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	r := &attackRun{Bench: b, names: b.Size.or(Size{Jobs: 20_000}).Jobs}
	if err := r.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(context.WithoutCancel(ctx))) }()
	for began, round := time.Now(), 0; round < rounds && len(all) > 0; round++ {
		for _, t := range all {
			if round > 0 && time.Since(began) > enough {
				break
			}
			if err := r.attack(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
		}
		all = slices.DeleteFunc(all, func(t Attack) bool { return !r.report.slowed(t.Name) })
	}
	return r.report.tooLarge()
}

// An attack is measured again if the bystander's p99 exceeded its bound: at most `rounds` times in all, and not after the
// scenario has run for `enough`. Other work on the machine can only make a p99 worse. So the report has the p99 that was
// smallest in relation to its bound, and the largest memory of all measurements.
const (
	rounds = 3
	enough = 6 * time.Minute
)

var errNoAttack = errors.New("there is no such attack")

// chosen returns the attacks with the given names, or all.
func chosen(names []string) ([]Attack, error) {
	all := AllAttacks()
	if len(names) == 0 {
		return all, nil
	}
	found := slices.DeleteFunc(all, func(t Attack) bool { return !slices.Contains(names, t.Name) })
	if len(found) != len(names) {
		return nil, fmt.Errorf("%w: %q", errNoAttack, names)
	}
	return found, nil
}

// attackRun is the state of the scenario.
type attackRun struct {
	*Bench
	names  int // the number of tokens whose names are searched
	admin  *client.Client
	user   *bystander
	stub   *target.StubAnalyzer // nil while the reference analysis server is used
	unstub func() error
	quiet  *window // the last window without an attack
	report *AttackReport
	number int // number of the attack, which makes its address
}

// open creates the bystander, and the tokens that clients list and search.
func (r *attackRun) open(ctx context.Context) error {
	r.report = &AttackReport{
		Limits: map[string]int64{}, Free: r.Size.Concurrent != 0 || r.Size.Bytes != 0,
	}
	for name, c := range r.Target.Containers {
		r.report.Limits[name] = c.Memory
	}
	r.Report.Attacks = r.report
	if err := r.seed(ctx); err != nil {
		return err
	}
	key, err := r.Target.APIKey(ctx, "operator", principal.Admin)
	if err != nil {
		return err
	}
	r.admin = r.Target.Client(1)
	r.admin.Credential = key
	if key, err = r.Target.APIKey(ctx, "bystander"); err != nil {
		return err
	}
	r.user = &bystander{api: r.Target.Client(8), audio: loadgen.NewRecording(300 * time.Millisecond)}
	r.user.api.Credential = key
	r.user.control = &client.Client{Base: r.Target.Aside(), HTTP: r.user.api.HTTP}
	r.user.token, err = r.token(ctx, bystanderCategory)
	return err
}

// seed makes tokens in the database: those with many names, and those with large scripts.
func (r *attackRun) seed(ctx context.Context) error {
	r.Say("attacks: making %d names and 60 MB of scripts", r.names)
	for _, statement := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO catalogue.tokens (token_name, actor_name, category, start_time, end_time)
			SELECT 'name ' || md5(i::text), 'actor ' || i % 100, 'attack-names', 0, 1
			FROM generate_series(1, $1::int) AS i`, []any{r.names}},
		{`INSERT INTO catalogue.tokens (token_name, actor_name, category, start_time, end_time)
			SELECT 'scripts ' || i, 'actor', $1, 0, 10
			FROM generate_series(1, 300) AS i`, []any{largeCategory}},
		{`INSERT INTO catalogue.scripts (token_id, start_time, end_time, script, translation)
			SELECT id, i, i + 1, repeat(md5(i::text), 312), repeat(md5(i::text), 312)
			FROM catalogue.tokens, generate_series(0, 9) AS i
			WHERE category = $1`, []any{largeCategory}},
		{`VACUUM ANALYZE catalogue.tokens`, nil},
		{`VACUUM ANALYZE catalogue.scripts`, nil},
	} {
		if _, err := r.Target.DB.ExecContext(ctx, statement.query, statement.args...); err != nil {
			return fmt.Errorf("make tokens: %w", err)
		}
	}
	for range 20 {
		if _, err := r.token(ctx, bystanderCategory); err != nil {
			return err
		}
	}
	return nil
}

// token makes a token and returns its id.
func (r *attackRun) token(ctx context.Context, category string) (id int64, err error) {
	const insert = `
		INSERT INTO catalogue.tokens (token_name, actor_name, category, start_time, end_time)
		VALUES ('sample', 'sori', $1, 0, 10)
		RETURNING id`
	if err := r.Target.DB.QueryRowContext(ctx, insert, category).Scan(&id); err != nil {
		return 0, fmt.Errorf("make a token: %w", err)
	}
	return id, nil
}

// close removes what open has made.
func (r *attackRun) close(ctx context.Context) error {
	err := r.useStub(ctx, false)
	r.user.api.Close()
	r.admin.Close()
	const remove = `DELETE FROM catalogue.tokens WHERE category LIKE 'attack-%'`
	if _, removeErr := r.Target.DB.ExecContext(ctx, remove); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("remove tokens: %w", removeErr))
	}
	return err
}

// useStub makes the dispatcher use the stub analysis server if on is true, else the reference analysis server.
func (r *attackRun) useStub(ctx context.Context, on bool) (err error) {
	switch {
	case on && r.stub == nil:
		r.stub, r.unstub, err = r.Target.UseStub(ctx)
	case !on && r.stub != nil:
		err = r.unstub()
		r.stub = nil
	default:
		return nil
	}
	r.user.stub, r.quiet = r.stub, nil // the last quiet window was measured with another analysis server
	return err
}

// attack measures one attack.
func (r *attackRun) attack(ctx context.Context, t Attack) error {
	if err := r.useStub(ctx, t.stub); err != nil {
		return err
	}
	a, err := r.attacker(ctx, t)
	if err != nil {
		return err
	}
	defer a.close()
	if r.quiet == nil {
		r.settle(ctx, t.Name)
		r.quiet = r.quietWindow(ctx)
	}
	if t.prepare != nil {
		if err := t.prepare(a, ctx); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		a.reset()
	}
	r.Say("attacks: %s: %s", t.Name, t.about)
	before := r.quiet
	during, cost := r.attackWindow(ctx, t, a)
	if err := r.remove(ctx, a.token); err != nil {
		return err
	}
	r.settle(ctx, t.Name)
	r.quiet = r.quietWindow(ctx)
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	r.report.add(Attacked{
		Attack: t.Name, Answers: a.answers(), Quiet: noticed(before, r.quiet), During: noticed(during), Cost: cost, Rounds: 1,
	})
	return nil
}

// attacker creates a client with a separate owner, address and token.
func (r *attackRun) attacker(ctx context.Context, t Attack) (*attacker, error) {
	r.number++
	key, err := r.Target.APIKey(ctx, "attacker-"+fmt.Sprint(r.number), t.scopes...)
	if err != nil {
		return nil, err
	}
	token, err := r.token(ctx, "attack-token")
	if err != nil {
		return nil, err
	}
	a := newAttacker(r.Target.Gateway, key, fmt.Sprintf("198.51.100.%d", r.number), token)
	a.stub = r.stub
	return a, nil
}

// quietWindow measures a window without an attack. It is half as long as an attack, since an attack is compared with
// the windows before and after it.
func (r *attackRun) quietWindow(ctx context.Context) *window {
	memory := r.Target.WatchMemory(ctx)
	w := r.user.use(ctx, r.Attacks.Length/2)
	r.report.Quiet.add(Cost{Memory: memory()})
	return w
}

// attackWindow runs the attack, and measures a window that begins with the attacker's first request.
func (r *attackRun) attackWindow(ctx context.Context, t Attack, a *attacker) (*window, Cost) {
	attacking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.run(a, attacking)
	}()
	select {
	case <-a.began:
	case <-done:
	case <-ctx.Done():
	}
	shares := r.Target.Meter("attacks")
	memory := r.Target.WatchMemory(ctx)
	w := r.user.use(ctx, r.Attacks.Length)
	cost := Cost{Memory: memory(), CPU: map[string]float64{}}
	for _, p := range shares(0) {
		cost.CPU[p.Name] = p.Share
	}
	stop()
	<-done
	return w, cost
}

// remove deletes the attacker's token, which erases its jobs and cancels their analyses.
func (r *attackRun) remove(ctx context.Context, token int64) error {
	_, err := r.admin.Do(ctx, client.Request{Method: http.MethodDelete, Path: fmt.Sprintf("/tokens/%d", token), Body: http.NoBody})
	if err != nil {
		return fmt.Errorf("remove the attacker's jobs: %w", err)
	}
	return nil
}

// settle waits until a job of the bystander ends within a second again (bystander.settle).
func (r *attackRun) settle(ctx context.Context, name string) {
	if began := time.Now(); !r.user.settle(ctx) {
		r.Report.Note("attacks: %v after %s a job of the other user still took more than a second", time.Since(began).Round(time.Second), name)
	}
}
