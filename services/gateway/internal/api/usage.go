package api

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/principal"
)

// Quotas has the budgets of owners, and reads how much an owner uses.
type Quotas interface {
	Usage(ctx context.Context, owner string) (quota.Usage, error)
	Limits() quota.Limits
}

// budgetBody is a budget in bytes.
type budgetBody struct {
	Used  int64  `json:"used"`
	Limit *int64 `json:"limit"` // null if there is no limit
}

// usageBody has the usage of the jobs of a principal, and the limits.
type usageBody struct {
	Jobs   int64      `json:"jobs"`
	Staged budgetBody `json:"staged_bytes"`
	Stored budgetBody `json:"stored_bytes"`
	Log    budgetBody `json:"log_bytes"`
}

// sendUsage answers with the usage of the principal.
func (r *Routes) sendUsage(c *fiber.Ctx) error {
	owner := principal.From(c.UserContext()).Owner
	used, err := r.Quotas.Usage(c.UserContext(), owner)
	if err != nil {
		return err
	}
	limits := r.Quotas.Limits()
	if owner == "" {
		limits = quota.Limits{}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(usageBody{
		Jobs: used.Jobs, Staged: budgetOf(used.Staged, limits.Staged),
		Stored: budgetOf(used.Stored, limits.Stored), Log: budgetOf(used.Log, limits.Log),
	})
}

func budgetOf(used, limit int64) budgetBody {
	b := budgetBody{Used: used}
	if limit > 0 {
		b.Limit = &limit
	}
	return b
}
