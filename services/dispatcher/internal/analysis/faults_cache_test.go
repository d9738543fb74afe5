package analysis_test

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/testkit/faults"
)

type faultySharing struct {
	analysis.Sharing

	f *faults.Plan
}

func (s faultySharing) Leader(ctx context.Context, key string) (*analysis.Member, error) {
	return faults.Read(s.f, "Sharing.Leader", func() (*analysis.Member, error) { return s.Sharing.Leader(ctx, key) })
}

func (s faultySharing) LedBy(ctx context.Context, job string) (*analysis.Member, error) {
	return faults.Read(s.f, "Sharing.LedBy", func() (*analysis.Member, error) { return s.Sharing.LedBy(ctx, job) })
}

func (s faultySharing) NextLeader(ctx context.Context, from uint64) (*analysis.Member, error) {
	return faults.Read(s.f, "Sharing.NextLeader", func() (*analysis.Member, error) { return s.Sharing.NextLeader(ctx, from) })
}

func (s faultySharing) NextFollower(ctx context.Context, key string, from uint64) (*analysis.Member, error) {
	return faults.Read(s.f, "Sharing.NextFollower", func() (*analysis.Member, error) { return s.Sharing.NextFollower(ctx, key, from) })
}

func (s faultySharing) Lead(ctx context.Context, m analysis.Member, after uint64) (*analysis.Member, error) {
	return faults.Write(s.f, "Sharing.Lead", func() (*analysis.Member, error) { return s.Sharing.Lead(ctx, m, after) })
}

func (s faultySharing) Follow(ctx context.Context, m analysis.Member) error {
	return faults.Run(s.f, "Sharing.Follow", func() error { return s.Sharing.Follow(ctx, m) })
}

func (s faultySharing) Remove(ctx context.Context, m *analysis.Member) error {
	return faults.Run(s.f, "Sharing.Remove", func() error { return s.Sharing.Remove(ctx, m) })
}

func (s faultySharing) RemoveFollowers(ctx context.Context, key string, before uint64) error {
	return faults.Run(s.f, "Sharing.RemoveFollowers", func() error { return s.Sharing.RemoveFollowers(ctx, key, before) })
}

func (s faultySharing) Grant(ctx context.Context, m *analysis.Member) error {
	return faults.Run(s.f, "Sharing.Grant", func() error { return s.Sharing.Grant(ctx, m) })
}

type faultyResults struct {
	f       *faults.Plan
	results analysis.Results
}

func (r faultyResults) Find(ctx context.Context, key analysis.ResultKey) (*analysis.CachedResult, error) {
	return faults.Read(r.f, "Results.Find", func() (*analysis.CachedResult, error) { return r.results.Find(ctx, key) })
}

func (r faultyResults) Put(ctx context.Context, key analysis.ResultKey, c analysis.CachedResult) (analysis.ResultEntry, error) {
	return faults.Write(r.f, "Results.Put", func() (analysis.ResultEntry, error) { return r.results.Put(ctx, key, c) })
}

func (r faultyResults) Keep(ctx context.Context, e analysis.ResultEntry) error {
	return faults.Run(r.f, "Results.Keep", func() error { return r.results.Keep(ctx, e) })
}

func (r faultyResults) Undo(ctx context.Context, e analysis.ResultEntry) error {
	return faults.Run(r.f, "Results.Undo", func() error { return r.results.Undo(ctx, e) })
}

func (r faultyResults) Remove(ctx context.Context, job string) error {
	return faults.Run(r.f, "Results.Remove", func() error { return r.results.Remove(ctx, job) })
}

type faultyVersions struct {
	f        *faults.Plan
	versions analysis.Versions
}

func (v faultyVersions) Version(ctx context.Context, ref string) (string, error) {
	return faults.Read(v.f, "Versions.Version", func() (string, error) { return v.versions.Version(ctx, ref) })
}
