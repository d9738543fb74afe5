package config_test

import (
	"fmt"
	"time"

	"sori.internal/shared/config"
)

func ExampleLoad() {
	var settings struct {
		Addr     string        `env:"HTTP_ADDR" envDefault:":8000"`
		Grace    time.Duration `env:"SHUTDOWN_GRACE" envDefault:"20s"`
		Password config.Secret `env:"PGPASSWORD,required"`
	}
	// A service passes os.LookupEnv.
	environment := config.Map(map[string]string{"PGPASSWORD": "hunter2", "SHUTDOWN_GRACE": "5s"})
	if err := config.Load(environment, &settings); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Addr, settings.Grace)
	fmt.Println(settings.Password, len(settings.Password.Reveal()))
	// Output:
	// :8000 5s
	// ****** 7
}
