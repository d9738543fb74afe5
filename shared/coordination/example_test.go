package coordination_test

import (
	"context"
	"fmt"

	"sori.internal/shared/bus"
	"sori.internal/shared/coordination"
)

// One replica has seen that the analysis server answers its status URL. All replicas remember it, also
// after a restart.
func ExampleFlag() {
	var b *bus.Bus // from bus.Open
	ctx, seen := context.Background(), coordination.NewFlag(b, "ANALYSIS", "status-seen")
	if err := seen.Set(ctx); err != nil {
		fmt.Println(err)
	}
	set, err := seen.IsSet(ctx)
	fmt.Println(set, err)
}
