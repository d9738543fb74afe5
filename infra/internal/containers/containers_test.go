// Package containers_test compares the files for containers with each other and with the
// services' settings. Without a container engine it finds settings that are misspelt,
// unknown, or described with another default.
package containers_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/provision"
	dispatcher "sori.internal/services/dispatcher/app"
	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	uploader "sori.internal/services/uploader/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// service contains the fields of a service in the compose file that the tests check.
type service struct {
	Image string
	Build struct {
		Args map[string]string
	}
	Environment map[string]string
	Ports       []string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Tmpfs       []string
	MemLimit    string `yaml:"mem_limit"`
	PidsLimit   int    `yaml:"pids_limit"`
	CPUs        string
	Networks    []string
	User        string
	Privileged  bool
	NetworkMode string `yaml:"network_mode"`
	Volumes     []string
	Profiles    []string
	Logging     struct{ Options map[string]string }
	Healthcheck struct{ Test []string }
}

// composeFile is the compose file, as far as the tests check it.
type composeFile struct {
	Services map[string]service
	Networks map[string]struct{ Internal bool }
}

func services(t *testing.T) map[string]service {
	t.Helper()
	return compose(t).Services
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var file composeFile
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) == 0 {
		t.Fatal("the compose file has no services")
	}
	return file
}

// toolSettings are the settings that sorictl reads.
type toolSettings struct {
	Tracker   string `env:"TRACKER_URL,required"`
	Principal principal.Config
	Bus       bus.Config
	Postgres  postgres.Config
	Objects   objectstore.Config
}

// provisionSettings are the settings that sorictl provision reads.
type provisionSettings struct {
	Bus      bus.Config
	Postgres postgres.Config
	Roles    provision.Roles
	Objects  objectstore.Config
	S3       provision.Identities
}

// settings returns, for each program, a pointer to its struct of settings, to be loaded.
func settings() map[string]any {
	return map[string]any{
		"gateway": &gateway.Config{}, "uploader": &uploader.Config{}, "dispatcher": &dispatcher.Config{},
		"tracker": &tracker.Config{}, "analyzer": &analyzer.Config{}, "sorictl": &toolSettings{}, "provision": &provisionSettings{},
	}
}

// variable matches ${NAME}, ${NAME:-default} and ${NAME:?message}.
var variable = regexp.MustCompile(`\$\{([A-Z0-9_]+)(?:(:-|:\?)([^}]*))?\}`)

// given returns the settings in .env.example: those that are set, and those in comments,
// which are the defaults.
func given(t *testing.T) (set, described map[string]string) {
	t.Helper()
	set, described = map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(#?)([A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		to := set
		if m[1] == "#" {
			to = described
		}
		if _, twice := set[m[2]]; twice {
			t.Errorf("%s stands twice in .env.example", m[2])
		}
		to[m[2]] = m[3]
	}
	return set, described
}

// filled returns the settings that are set in the .env that sorictl secrets writes.
func filled(t *testing.T) map[string]string {
	t.Helper()
	example := read(t, ".env.example")
	text, _ := command.FillSecrets(example, example)
	return assignments(text)
}

func assignments(text string) map[string]string {
	set := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(text, -1) {
		set[m[1]] = m[2]
	}
	return set
}

// expand replaces the variables in a value as Docker Compose does.
func expand(value string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(value, func(found string) string {
		m := variable.FindStringSubmatch(found)
		if v := vars[m[1]]; v != "" {
			return v
		}
		if m[2] == ":-" {
			return m[3]
		}
		return ""
	})
}

func TestEveryVariableIsInEnvExampleAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	set, described := given(t)
	used := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(read(t, "docker-compose.yml"), -1) {
		name, kind, fallback := m[1], m[2], m[3]
		if name == "NAME" { // NAME is only in the comment at the start of the file
			continue
		}
		used[name] = true
		value, isSet := set[name]
		if _, isDescribed := described[name]; !isSet && !isDescribed {
			t.Errorf("${%s} is not in .env.example", name)
		}
		switch {
		case kind == "":
			t.Errorf("${%s} has neither a default nor a message", name)
		case kind == ":?" && value == "" && filled(t)[name] == "":
			t.Errorf("%s is needed, has no value in .env.example, and sorictl secrets makes none", name)
		case kind == ":-" && fallback != "" && value != fallback:
			t.Errorf("%s is %q in .env.example and %q by default", name, value, fallback)
		}
	}
	for _, names := range []map[string]string{set, described} {
		for name := range names {
			if !used[name] {
				t.Errorf("%s of .env.example is not used", name)
			}
		}
	}
}

func TestADefaultInEnvExampleIsTheServices(t *testing.T) {
	t.Parallel()
	_, described := given(t)
	for name, s := range services(t) {
		cfg, ours := settings()[name]
		if !ours {
			continue
		}
		known, err := config.Describe(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, setting := range known {
			m := variable.FindStringSubmatch(s.Environment[setting.Name])
			if m == nil {
				continue
			}
			if told, ok := described[m[1]]; ok && told != setting.Default {
				t.Errorf("%s: %s is %q by default, .env.example says %q", name, m[1], setting.Default, told)
			}
		}
	}
}

func TestAContainerHasTheSettingsOfItsProgram(t *testing.T) {
	t.Parallel()
	all := services(t)
	set := filled(t)
	for name, cfg := range settings() {
		known, err := config.Describe(cfg)
		if err != nil {
			t.Fatal(err)
		}
		vars := map[string]string{}
		for variable, value := range all[name].Environment {
			vars[variable] = expand(value, set)
			runtime := variable == "GOMEMLIMIT" // the Go runtime reads it, not the service
			if !runtime && !slices.ContainsFunc(known, func(s config.Setting) bool { return s.Name == variable }) {
				t.Errorf("%s has no setting %s", name, variable)
			}
		}
		if err := config.Load(config.Map(vars), cfg); err != nil {
			t.Errorf("%s does not start with the .env of sorictl secrets: %v", name, err)
		}
	}
}

func TestOnlyTheProvisionerIsTheAdministratorOfS3(t *testing.T) {
	t.Parallel()
	keys := map[string]string{}
	for name, s := range services(t) {
		for setting, value := range s.Environment {
			if strings.Contains(value, "${AWS_SECRET_ACCESS_KEY") && name != "provision" && name != "s3" {
				t.Errorf("%s gets the administrator's key in %s", name, setting)
			}
		}
		if key := s.Environment["AWS_ACCESS_KEY_ID"]; key != "" {
			if other := keys[key]; other != "" {
				t.Errorf("%s and %s are both %s", name, other, key)
			}
			keys[key] = name
		}
	}
	if len(keys) != 7 { // five identities, the administrator, the analyzer
		t.Errorf("the keys are %v", keys)
	}
}

func TestOnlyTheProvisionerIsTheOwnerOfTheDatabase(t *testing.T) {
	t.Parallel()
	users := map[string]string{}
	for name, s := range services(t) {
		user, uses := s.Environment["PGUSER"]
		if !uses {
			if s.Environment["DATABASE_URL"] != "" {
				t.Errorf("%s has no user of its own", name)
			}
			continue
		}
		if (user == "sori") != (name == "provision") {
			t.Errorf("%s is %s", name, user)
		}
		if other := users[user]; other != "" {
			t.Errorf("%s and %s are both %s", name, other, user)
		}
		users[user] = name
		if migrates := s.Environment["DATABASE_MIGRATE"] != "false"; migrates {
			t.Errorf("%s migrates", name)
		}
		for setting, value := range s.Environment {
			if strings.Contains(value, "POSTGRES_PASSWORD") && name != "provision" {
				t.Errorf("%s gets the owner's password in %s", name, setting)
			}
		}
	}
	if len(users) != 4 {
		t.Errorf("the users are %v", users)
	}
}

func TestTheExampleHasNoSecret(t *testing.T) {
	t.Parallel()
	set, _ := given(t)
	made := 0
	for name, value := range set {
		secret := strings.HasSuffix(name, "PASSWORD") || strings.HasSuffix(name, "SECRET") || strings.HasSuffix(name, "SECRET_ACCESS_KEY") || strings.HasSuffix(name, "S3_SECRET_KEY")
		if secret && value != "" {
			t.Errorf("%s has a value that everybody knows", name)
		}
		if optional := name == "AUTH_JWT_SECRET"; secret && !optional {
			made++
			if len(filled(t)[name]) < 32 {
				t.Errorf("sorictl secrets makes no %s", name)
			}
		}
	}
	if made < 3 {
		t.Errorf("only %d secrets are found", made)
	}
}

func TestSecretsStayOutOfTheBuild(t *testing.T) {
	t.Parallel()
	ignored := strings.Split(read(t, ".dockerignore"), "\n")
	for _, file := range []string{".env", ".env.*", ".sori", ".git"} {
		if !slices.Contains(ignored, file) {
			t.Errorf("%s enters the build", file)
		}
	}
}

// minor returns the first two numbers of a version.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// images returns the images of other projects that are named in docker-compose.yml and in the Dockerfile.
func images(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, s := range services(t) {
		if s.Image != "" && !strings.HasPrefix(s.Image, "sori-") {
			all = append(all, s.Image)
		}
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+:\S+)`).FindAllStringSubmatch(read(t, "infra/Dockerfile"), -1) {
		all = append(all, from[1])
	}
	return all
}

func TestImagesOfOtherProjectsAreNamedByTheirDigest(t *testing.T) {
	t.Parallel()
	all := images(t)
	if len(all) != 5 { // Postgres, S3, Go, Node, Alpine
		t.Errorf("%d images, want 5: %q", len(all), all)
	}
	exact := regexp.MustCompile(`^\S+:v?\d+(\.\d+)+[-\w]*@sha256:[0-9a-f]{64}$`)
	for _, image := range all {
		if !exact.MatchString(image) {
			t.Errorf("%s may mean another image tomorrow", image)
		}
	}
}

func TestImagesAreOfTheVersionsThatTheTestsRun(t *testing.T) {
	t.Parallel()
	module := read(t, "infra/go.mod")
	version := func(pattern string) string {
		m := regexp.MustCompile(`(?m)` + pattern).FindStringSubmatch(module)
		if m == nil {
			t.Fatalf("go.mod has no %s", pattern)
		}
		return m[1]
	}
	if program := services(t)["nats"].Build.Args["PROGRAM"]; !strings.Contains(module, "\t"+program+" v") {
		t.Errorf("the image of NATS is built from %q, which infra/go.mod does not require", program)
	}
	all := images(t)
	for _, want := range []string{
		"versity/versitygw:" + version(`versity/versitygw (v\S+)$`),
		"golang:" + minor(version(`^go (\S+)$`)) + ".",
	} {
		if !slices.ContainsFunc(all, func(image string) bool { return strings.HasPrefix(image, want) }) {
			t.Errorf("no image is %s: %q", want, all)
		}
	}
}
