//! Which files, which directory, which name, which variables.

use std::path::PathBuf;

use super::case;

const A: &str = "services: { a: { image: x } }";

#[test]
fn our_own_names_come_before_compose_s() {
    let files = format!(
        "== compose.yaml\nservices: {{ c: {{}} }}\n== atoll.yml\n{A}\n== atoll.override.yaml\nservices: {{ b: {{}} }}\n== compose.override.yaml\nx"
    );
    insta::assert_snapshot!(case(&files).facts(), @r#"app in /app, profiles [], services ["a", "b"]"#);
}

#[test]
fn compose_s_names_are_found_in_compose_s_order_with_their_override() {
    let files = format!(
        "== docker-compose.yml\n{A}\n== docker-compose.yaml\nx\n== docker-compose.override.yml\nservices: {{ b: {{}} }}"
    );
    insta::assert_snapshot!(case(&files).facts(), @r#"
    app in /app, profiles [], services ["a", "b"]
    warning[A0122]: `docker-compose.yml` is the application file; `docker-compose.yaml` beside it is not read
      hint: remove what is not needed, or choose with `-f`
    "#);
}

#[test]
fn files_are_looked_for_upwards_and_the_app_lives_where_they_are() {
    let files = format!("== compose.yaml\n{A}\n== .env\nNAME=top\n== deep/.env\nNAME=deep\nMORE=1");
    let case = case(&files).within("deep/er").with(|request| request.project_name = None);
    let facts = case.facts();
    assert!(facts.contains("in /app, profiles [], services [\"a\"]"), "{facts}");
}

#[test]
fn no_file_anywhere_says_where_it_looked() {
    let case = case("== x");
    let dir = case.path("");
    let empty = case.with(|request| request.files = vec![PathBuf::from(".")]);
    insta::assert_snapshot!(empty.run(), @r"
    no tree
    error[A0101]: no application file: looked for atoll.yaml, atoll.yml, compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml in `/app`
      hint: write one with `atoll init`, or say where it is with `-f`
    ");
    assert!(dir.is_absolute());
}

#[test]
fn a_directory_stands_for_the_files_in_it() {
    let files =
        format!("== sub/atoll.yaml\n{A}\n== sub/.env\nX=1\n== compose.yaml\nservices: {{ no: {{}} }}");
    let case = case(&files).with(|request| {
        request.files = vec![PathBuf::from("sub")];
        request.project_name = None;
    });
    insta::assert_snapshot!(case.facts(), @r#"sub in /app/sub, profiles [], services ["a"]"#);
    assert!(case.variables().contains(&("X".to_owned(), "1".to_owned())));
}

#[test]
fn named_files_are_merged_in_order_and_the_first_gives_the_directory() {
    let files = format!("== one/a.yaml\n{A}\n== two/b.yaml\nservices: {{ b: {{}} }}");
    let case = case(&files).with(|request| {
        request.files = vec![PathBuf::from("-"), PathBuf::from("one/a.yaml"), PathBuf::from("two/b.yaml")];
        request.stdin = Some("services: { i: {} }".to_owned());
    });
    insta::assert_snapshot!(case.facts(), @r#"app in /app/one, profiles [], services ["i", "a", "b"]"#);
}

#[test]
fn compose_file_and_profiles_may_come_from_the_env_file() {
    let files = format!(
        "== x.yaml\n{A}\n== y.yaml\nservices: {{ b: {{}} }}\n== .env\nCOMPOSE_FILE=x.yaml;y.yaml\nCOMPOSE_PATH_SEPARATOR=;\nCOMPOSE_PROFILES=dev, test,\nCOMPOSE_PROJECT_NAME=named"
    );
    let case = case(&files).with(|request| request.project_name = None);
    insta::assert_snapshot!(case.facts(), @r#"named in /app, profiles ["dev", "test"], services ["a", "b"]"#);
    insta::assert_snapshot!(case.with(|request| request.profiles = vec!["only".to_owned()]).facts(), @r#"named in /app, profiles ["only"], services ["a", "b"]"#);
}

#[test]
fn a_missing_file_is_told_and_the_others_are_still_read() {
    let case = case("== a.yaml\na: [").with(|request| {
        request.files = ["gone.yaml", "a.yaml", "https://x/compose.yaml"].map(PathBuf::from).to_vec();
    });
    insta::assert_snapshot!(case.faults(), @r"
    error[A0125]: `https://x/compose.yaml` is not on this machine: Atoll reads local files only
      hint: fetch the file and name its path
    ");
    let case = case.with(|request| {
        request.files.pop();
    });
    insta::assert_snapshot!(case.faults(), @r#"
    error[A0102]: cannot read the application file `gone.yaml`: no such file or directory
      hint: check the path, and the directory it starts from
    error[A0105] at a.yaml:1:4 "[": this `[` or `{` is never closed
      hint: close it, or put the text in quotes if it is meant literally
    "#);
}

#[test]
fn the_environment_wins_over_env_files_and_later_ones_over_earlier_ones() {
    let files = format!(
        "== compose.yaml\n{A}\n== .env\nA=dot\n== one.env\nA=one\nB=one\nC=one\n== two.env\nB=two\nC=${{B}}"
    );
    let value = |case: &super::Case, name: &str| {
        case.variables()
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    };
    let plain = case(&files).env("Z", "z");
    assert_eq!(value(&plain, "A"), "dot");
    let flags = case(&files).env("A", "outer").with(|request| {
        request.env_files = vec![PathBuf::from("one.env"), PathBuf::from("two.env")];
    });
    assert_eq!(["A", "B", "C"].map(|name| value(&flags, name)), ["outer", "two", "two"]);
    let listed = case(&files).env("COMPOSE_ENV_FILES", "two.env,one.env");
    assert_eq!(["A", "B", "C"].map(|name| value(&listed, name)), ["one", "one", "one"]);
    let disabled = case(&files).env("COMPOSE_DISABLE_ENV_FILE", "1");
    assert_eq!(value(&disabled, "A"), "");
    let missing = case(&files).with(|request| request.env_files = vec![PathBuf::from("gone.env")]);
    insta::assert_snapshot!(missing.faults(), @r"
    error[A0102]: cannot read the environment file `gone.env`: no such file or directory
      hint: check the path, and the directory it starts from
    ");
}

#[test]
fn the_name_comes_from_the_flag_the_environment_the_file_or_the_directory() {
    let named = "name: ${X:-file}\nservices: { a: { image: $COMPOSE_PROJECT_NAME } }";
    let name = |case: &super::Case| case.facts().split(' ').next().unwrap_or_default().to_owned();
    let unnamed = |files: &str| case(files).with(|request| request.project_name = None);
    assert_eq!(name(&case(named)), "app");
    assert_eq!(name(&unnamed(named).env("COMPOSE_PROJECT_NAME", "env")), "env");
    assert_eq!(name(&unnamed(named)), "file");
    assert!(unnamed(named).run().contains("image: file"));
    let files = format!("== My Shop!/compose.yaml\n{A}");
    assert_eq!(name(&unnamed(&files).within("My Shop!")), "myshop");
    insta::assert_snapshot!(unnamed("name: My Shop\nservices: { a: {} }").faults(), @r#"
    error[A0120] at compose.yaml:1:7 "My Shop": the name in `name`: `My Shop` is not a name: lower-case letters, digits, `-` and `_`, first a letter or digit, at most 63
      hint: write `myshop`
    "#);
    insta::assert_snapshot!(case(A).with(|r| r.project_name = Some("A".to_owned())).faults(), @r"
    error[A0120]: the name given with `-p`: `A` is not a name: lower-case letters, digits, `-` and `_`, first a letter or digit, at most 63
      hint: write `a`
    ");
    let files = format!("== !!!/compose.yaml\n{A}");
    insta::assert_snapshot!(unnamed(&files).within("!!!").faults(), @r"
    error[A0120]: no app name can be made of the directory name `!!!`
      hint: write `name: …` at the top of the file, or give one with `-p`
    ");
}
