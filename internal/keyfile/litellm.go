package keyfile

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxMerges bounds how deep mappings may be merged into each other.
const maxMerges = 8

// config reads LiteLLM's: the api_key of each of its models.
func (c *collector) config(text []byte) {
	root, line := parsed(text)
	if root == nil {
		c.wrong(line, "the YAML cannot be read")
		return
	}
	models := member(root, "model_list", 0)
	if models == nil || models.Kind != yaml.SequenceNode {
		c.wrong(1, "model_list is no list")
		return
	}
	for _, model := range models.Content {
		c.model(model)
	}
}

// model reads one of the models.
func (c *collector) model(model *yaml.Node) {
	params := member(model, "litellm_params", 0)
	key := member(params, "api_key", 0)
	switch {
	case key == nil || key.Kind != yaml.ScalarNode || key.Tag == "!!null" || key.Value == "":
		c.skip(model.Line, "the model has no api_key")
	case strings.HasPrefix(key.Value, "os.environ/"):
		c.skip(key.Line, "the key stands in a variable of the environment: write it into the config, as 'keys {env.…}'")
	default:
		c.add(key.Line, key.Value, "", modelProvider(member(params, "model", 0)))
	}
}

// modelProvider returns whose model it is: openai's, of openai/gpt-4o.
func modelProvider(model *yaml.Node) string {
	if model != nil {
		if provider, _, ok := strings.Cut(model.Value, "/"); ok && provider != "" {
			return shownProvider(provider)
		}
	}
	return unnamed
}

// member returns what a mapping has by that name, in itself or in what is merged into it;
// nil: nothing.
func member(of *yaml.Node, name string, depth int) *yaml.Node {
	if of = behind(of); of == nil || of.Kind != yaml.MappingNode || depth > maxMerges {
		return nil
	}
	var merged *yaml.Node
	for i := 0; i+1 < len(of.Content); i += 2 {
		switch of.Content[i].Value {
		case name:
			return behind(of.Content[i+1])
		case "<<":
			merged = of.Content[i+1]
		}
	}
	return member(merged, name, depth+1)
}

// behind is what an alias stands for.
func behind(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// yamlLine finds the line in an error of package yaml. The rest may repeat the text.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// parsed returns the first document, or nil and the line that is wrong.
func parsed(text []byte) (root *yaml.Node, line int) {
	line = 1
	// The text is anybody's: a parser that gives up on it must not end the process.
	defer func() {
		if recover() != nil {
			root = nil
		}
	}()
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
			line, _ = strconv.Atoi(found[1])
		}
		return nil, max(line, 1)
	}
	if len(document.Content) == 0 {
		return nil, line
	}
	return document.Content[0], line
}
